//! The fixture that every other test stands on.

use nself::postgres::scratch::Scratch;

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = (
        Scratch::shared().database().await,
        Scratch::shared().database().await,
    );
    one.client()
        .await
        .batch_execute("CREATE TABLE notes (id int)")
        .await
        .unwrap();
    let found = other
        .client()
        .await
        .query_one("SELECT to_regclass('notes') IS NULL", &[])
        .await
        .unwrap();
    assert!(
        found.get::<_, bool>(0),
        "{} sees the table of {}",
        other.name(),
        one.name()
    );
}

#[tokio::test]
async fn a_url_leads_to_the_same_database() {
    let database = Scratch::shared().database().await;
    let config: tokio_postgres::Config = database.url().parse().unwrap();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one("SELECT current_database()::text", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), database.name());
}

#[tokio::test]
async fn a_template_is_filled_once_and_copied() {
    let mut fills = 0;
    for _ in 0..3 {
        let database = Scratch::shared()
            .database_from("filled_once", async |config| {
                fills += 1;
                let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client
                    .batch_execute("CREATE TABLE notes AS SELECT 7 AS id")
                    .await
                    .unwrap();
            })
            .await;
        let row = database
            .client()
            .await
            .query_one("SELECT id FROM notes", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i32>(0), 7);
    }
    assert_eq!(fills, 1);
}

#[tokio::test]
async fn a_dropped_database_is_gone_with_its_roles() {
    let keeper = Scratch::shared().database().await;
    let client = keeper.client().await;
    let database = Scratch::shared().database().await;
    let name = database.name().to_owned();
    let role = format!("{name}_notes");
    database
        .client()
        .await
        .batch_execute(&format!(
            "CREATE ROLE {role}; CREATE SCHEMA notes; GRANT USAGE ON SCHEMA notes TO {role}"
        ))
        .await
        .unwrap();
    drop(database);
    let sql = "SELECT (SELECT count(*) FROM pg_database WHERE datname = $1) + (SELECT count(*) FROM pg_roles WHERE rolname = $2)";
    let left: i64 = client.query_one(sql, &[&name, &role]).await.unwrap().get(0);
    assert_eq!(left, 0);
}
