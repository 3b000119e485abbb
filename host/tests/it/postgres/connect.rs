//! Reaching databases: TLS as the URL says, pools with limits.

use std::{fs, path::Path, process::Command, time::Duration};

use nself::postgres::{
    cluster::{Cluster, ClusterOptions},
    connect::{Target, pool},
    scratch::Scratch,
};

#[tokio::test]
async fn a_pool_lends_its_connections_and_replaces_dead_ones() {
    let database = Scratch::shared().database().await;
    let pool = pool(&Target::local(database.config()), 1);
    let backend = async || -> i32 {
        let client = pool.get().await.unwrap();
        client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0)
    };
    let first = backend().await;
    assert_eq!(backend().await, first);
    let killer = database.client().await;
    killer
        .execute("SELECT pg_terminate_backend($1, 5000)", &[&first])
        .await
        .unwrap();
    // The end of the session reaches the client a moment later; a query that falls between fails, as it should.
    let replaced = async {
        loop {
            let client = pool.get().await.unwrap();
            if let Ok(row) = client.query_one("SELECT pg_backend_pid()", &[]).await {
                return row.get::<_, i32>(0);
            }
        }
    };
    assert_ne!(
        tokio::time::timeout(Duration::from_secs(10), replaced)
            .await
            .unwrap(),
        first
    );
}

#[tokio::test]
async fn an_exhausted_pool_says_so_instead_of_waiting_for_ever() {
    let database = Scratch::shared().database().await;
    let pool = pool(&Target::local(database.config()), 1);
    let _taken = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(
        matches!(error, deadpool_postgres::PoolError::Timeout(_)),
        "{error}"
    );
}

#[tokio::test]
async fn a_url_connects_under_the_hosts_name() {
    let database = Scratch::shared().database().await;
    let target = Target::from_url(&database.url()).unwrap();
    let (client, connection) = target.connect().await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one("SELECT current_setting('application_name')", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "nself");
}

/// A certificate for `127.0.0.1` that is its own root.
fn certificate(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=nself test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "server.key",
            "-out",
            "server.crt",
        ])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

async fn is_encrypted(url: &str) -> Result<bool, String> {
    let target = Target::from_url(url).map_err(|error| error.to_string())?;
    let (client, connection) = target
        .connect()
        .await
        .map_err(|error| format!("{error:?}"))?;
    tokio::spawn(connection);
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(client.query_one(sql, &[]).await.unwrap().get(0))
}

#[tokio::test]
async fn tls_is_used_and_verified_as_the_url_says() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let data_dir = dir.path().join(".nself");
    let cluster = Cluster::start(ClusterOptions::new(&data_dir, "tls"))
        .await
        .unwrap();
    assert_eq!(is_encrypted(&cluster.tcp_url().unwrap()).await, Ok(false));
    cluster.stop().await.unwrap();

    let account = nself::postgres::account::Account::choose();
    let data = data_dir.join(format!(
        "pg/{}",
        Scratch::shared().binaries().version().major
    ));
    certificate(&data);
    for file in ["server.key", "server.crt"] {
        std::os::unix::fs::chown(data.join(file), Some(account.uid), Some(account.gid)).unwrap();
    }
    fs::write(data.join("custom.conf"), "ssl = on\n").unwrap();

    let cluster = Cluster::start(ClusterOptions::new(&data_dir, "tls"))
        .await
        .unwrap();
    let url = cluster.tcp_url().unwrap();
    assert_eq!(
        is_encrypted(&format!("{}?sslmode=disable", *url)).await,
        Ok(false)
    );
    assert_eq!(is_encrypted(&url).await, Ok(true));
    assert_eq!(
        is_encrypted(&format!("{}?sslmode=require&channel_binding=require", *url)).await,
        Ok(true)
    );
    let root = data.join("server.crt");
    assert_eq!(
        is_encrypted(&format!(
            "{}?sslmode=verify-full&sslrootcert={}",
            *url,
            root.display()
        ))
        .await,
        Ok(true)
    );
    let error = is_encrypted(&format!("{}?sslmode=verify-full", *url))
        .await
        .unwrap_err();
    assert!(
        error.contains("UnknownIssuer") || error.contains("certificate"),
        "{error}"
    );
    let other_name = url.replace("@127.0.0.1:", "@localhost:");
    let error = is_encrypted(&format!(
        "{other_name}?sslmode=verify-full&sslrootcert={}",
        root.display()
    ))
    .await
    .unwrap_err();
    assert!(error.contains("NotValidForName"), "{error}");
    cluster.stop().await.unwrap();
}
