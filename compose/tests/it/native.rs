//! The services of the compose file, started with the programs of this machine: each environment variable, port and health check
//! of the file is what the programs read, listen on and answer.
//!
//! Real here: Postgres, Redis, the host with its plugins, Caddy. Stand-ins: moto for MinIO (it speaks S3, and checks no
//! signature), a catcher for Mailpit, and for Hasura a program that notes what it was started with.

use std::{fs, path::PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use nself_compose::{
    lab::{Image, Lab, stand_in},
    shell::{answer, command, eventually, may_run_services, tool, tools},
    stack::{Stack, Stage},
};
use serde_json::{Value, json};

use crate::{
    build::{PLUGINS, staged},
    monitoring,
};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery staple";

#[test]
fn the_same_services_run_with_the_environment_the_ports_and_the_health_checks_of_the_file() {
    if !may_run_services() {
        return;
    }
    let stack = Stack::of(Stage::Base);
    let mut lab = Lab::open(stack.clone());
    let image = staged();
    let nself = nself_image(image.path());

    let owners = lab.job("owners", &Image::default());
    owners.good("the job that gives volumes to their users");
    start_data(&mut lab);
    lab.start("nself", &nself);
    lab.healthy("nself");

    ports_answer(&lab, &stack);
    the_operators_key_is_known_by_its_digest(&lab);
    buckets_are_made(&lab);
    hasura_gets_its_secrets_and_verifies_tokens(&mut lab, &stack);
    an_event_of_hasura_becomes_a_job(&lab);
    what_watches_it_has_what_to_watch(&lab);
    redis_is_used(&lab);
    the_mail_server_is_logged_in_to_with_the_mounted_password(&lab);
    the_proxy_lets_through_what_is_public(&mut lab);
    nothing_secret_is_in_a_process_list_or_an_environment(&lab, &stack);
    nothing_can_be_written_but_the_volumes(&lab);
    a_dump_is_restored_as_the_readme_has_it(&lab);
    the_host_stops_well_and_comes_back_with_what_it_had(&mut lab, &nself);
}

/// Postgres, Redis, S3 and mail, with the entry points that their images have.
fn start_data(lab: &mut Lab) {
    let programs = postgres_programs();
    lab.start(
        "postgres",
        &Image {
            entrypoint: vec!["/usr/local/bin/docker-entrypoint.sh".to_owned()],
            account: Some("postgres".to_owned()),
            path: vec![programs],
            files: vec![(
                stand_in("postgres.sh"),
                "/usr/local/bin/docker-entrypoint.sh".to_owned(),
            )],
            owned: vec!["/var/lib/postgresql/data".to_owned()],
            ..Image::default()
        },
    );
    let redis = Image {
        owned: vec!["/data".to_owned()],
        ..Image::default()
    };
    lab.start("redis", &redis);
    lab.start("minio", &s3());
    lab.start(
        "mailpit",
        &Image {
            entrypoint: ["/opt/tools/python/bin/python", "/catcher.py"]
                .map(str::to_owned)
                .into(),
            files: vec![(stand_in("catcher.py"), "/catcher.py".to_owned())],
            ..Image::default()
        },
    );
    lab.healthy("postgres");
    lab.healthy("redis");
    eventually("the catcher answers", || {
        page(lab, "http://mailpit:8025/", &[])
    });
}

/// moto, at the address that the command of the file gives to MinIO.
fn s3() -> Image {
    let words = "[ \"$*\" = 'server /data --address :9000 --console-address :9001' ] && exec \"$S3\" -m moto.server -H 0.0.0.0 -p 9000";
    Image {
        entrypoint: ["/bin/sh", "-c", words, "minio"].map(str::to_owned).into(),
        environment: vec![("S3".to_owned(), "/opt/tools/python/bin/python".to_owned())],
        ..Image::default()
    }
}

fn nself_image(staged: &std::path::Path) -> Image {
    let file = |path: &str| (staged.join(path), format!("/{path}"));
    Image {
        entrypoint: vec!["/usr/local/bin/nself-container".to_owned()],
        command: vec!["start".to_owned()],
        workdir: "/var/lib/nself".to_owned(),
        files: vec![
            file("usr/local/bin/nself"),
            file("usr/local/bin/nself-container"),
            file("usr/lib/nself/plugins"),
        ],
        owned: ["/var/lib/nself", "/var/lib/nself/plugins.d"]
            .map(str::to_owned)
            .into(),
        ..Image::default()
    }
}

/// Found as the scripts and the host find them.
fn postgres_programs() -> String {
    let find = ". scripts/machine.sh; postgres_dir";
    let found = answer(command("bash").args(["-c", find]));
    let found = found.good("a PostgreSQL 15 or newer: apt-get install postgresql");
    found.trim().to_owned()
}

/// The body of a page that answers with 200.
fn page(lab: &Lab, url: &str, options: &[&str]) -> Result<String, String> {
    let (status, body) = call(lab, url, options)?;
    if status == 200 {
        return Ok(body);
    }
    Err(format!("{url}: {status} {body}"))
}

/// Status and body, as another machine gets them.
fn call(lab: &Lab, url: &str, options: &[&str]) -> Result<(u16, String), String> {
    let fixed = [
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "60",
        "--write-out",
        "\n%{http_code}",
    ];
    let said = lab.visit(&[&fixed, options, &[url]].concat());
    if !said.success {
        return Err(format!("{url}: {}", said.err));
    }
    let (body, status) = said.out.rsplit_once('\n').ok_or("no status")?;
    Ok((
        status.parse().map_err(|_| said.out.clone())?,
        body.to_owned(),
    ))
}

fn post(lab: &Lab, url: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let options = [
        "--header",
        "content-type: application/json",
        "--data",
        &body,
    ];
    let (status, body) = call(lab, url, &options).expect("an answer");
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The gateway and each enabled plugin listen where the file publishes them, with the seed's numbers.
fn ports_answer(lab: &Lab, stack: &Stack) {
    let ports = stack.service("nself").list("/ports");
    let published: Vec<u64> = ports
        .iter()
        .filter_map(|port| port["target"].as_u64())
        .collect();
    for (port, path) in [
        (3000, "/readyz"),
        (3001, "/.well-known/jwks.json"),
        (3003, "/livez"),
        (3004, "/livez"),
        (3005, "/livez"),
    ] {
        assert!(published.contains(&port), "{port} is published");
        let (status, _) =
            call(lab, &format!("http://nself:{port}{path}"), &[]).expect("it listens");
        assert!(
            status == 200 || port > 3001 && status == 404,
            "{port}{path}: {status}"
        );
    }
    let ready = page(lab, "http://nself:3000/readyz", &[]).expect("it is ready");
    for plugin in PLUGINS {
        assert!(ready.contains(plugin), "{plugin} runs: {ready}");
    }
}

fn the_operators_key_is_known_by_its_digest(lab: &Lab) {
    let key = lab.operator_key();
    let url = "http://nself:3000/mail/status";
    let known = format!("x-api-key: {key}");
    page(lab, url, &["--header", &known]).expect("the operator's key");
    let (status, _) = call(lab, url, &["--header", "x-api-key: nsk_0000"]).expect("an answer");
    assert_eq!(status, 401);
}

/// Alerts and panels are about a host like this one.
fn what_watches_it_has_what_to_watch(lab: &Lab) {
    let known = format!("x-api-key: {}", lab.operator_key());
    let url = "http://nself:3000/metrics";
    let shown = page(lab, url, &["--header", &known]).expect("metrics");
    monitoring::what_is_watched_is_there(&shown);
}

/// With `REDIS_URL_FILE`, the host is a client of Redis from its first use on: somebody has signed in by now.
fn redis_is_used(lab: &Lab) {
    let list =
        "REDISCLI_AUTH=$(cut -d' ' -f2 /run/secrets/redis.conf) redis-cli -h 127.0.0.1 client list";
    eventually("the host is connected to Redis", || {
        let clients = lab
            .exec("redis", &["/bin/sh", "-c", list])
            .good("client list");
        let others = clients.lines().filter(|line| !line.contains("cmd=client"));
        if others.count() > 0 {
            Ok(())
        } else {
            Err(clients)
        }
    });
}

/// The mail of whoever has signed in by now was sent with a password out of `/run/secrets`, which is where the host says that it is.
fn the_mail_server_is_logged_in_to_with_the_mounted_password(lab: &Lab) {
    let mails = page(lab, "http://mailpit:8025/", &[]).expect("the catcher answers");
    let mails: Value = serde_json::from_str(&mails).expect("JSON");
    assert_eq!(
        mails[0]["login"],
        json!(["nself", lab.secret("smtp-password")])
    );
    let listed = lab.exec("nself", &["nself", "config", "secrets", "--json"]);
    let listed: Value = serde_json::from_str(&listed.good("the secrets")).expect("JSON");
    let rows = listed["data"].as_array().expect("a list").iter();
    let row = rows
        .filter(|row| row["key"] == "secrets.files.smtp-password")
        .collect::<Vec<_>>();
    assert_eq!(row[0]["from"], "/run/secrets/smtp-password", "{listed}");
}

/// The job makes what is missing and finds what is there.
fn buckets_are_made(lab: &Lab) {
    eventually("the S3 server answers", || {
        call(lab, "http://minio:9000/", &[]).map(drop)
    });
    let first = lab.job("buckets", &Image::default()).good("the first run");
    assert_eq!(first.trim(), "made family-media");
    let second = lab.job("buckets", &Image::default()).good("the second run");
    assert_eq!(second.trim(), "family-media is there");
}

fn hasura_gets_its_secrets_and_verifies_tokens(lab: &mut Lab, stack: &Stack) {
    lab.start(
        "hasura",
        &Image {
            path: vec![postgres_programs()],
            files: vec![(
                stand_in("graphql-engine"),
                "/usr/local/bin/graphql-engine".to_owned(),
            )],
            ..Image::default()
        },
    );
    let environment = eventually("Hasura is started", || {
        let said = lab.exec("hasura", &["cat", "/tmp/environment"]);
        if said.success {
            Ok(said.out)
        } else {
            Err(lab.log("hasura"))
        }
    });
    for (variable, secret) in [
        ("HASURA_GRAPHQL_ADMIN_SECRET", "hasura-admin-secret"),
        (
            "HASURA_GRAPHQL_METADATA_DATABASE_URL",
            "hasura-metadata-url",
        ),
        ("HASURA_GRAPHQL_DATABASE_URL", "hasura-source-url"),
        ("NSELF_EVENTS_AUTHORIZATION", "hasura-events-authorization"),
    ] {
        let line = format!("{variable}={}", lab.secret(secret));
        assert!(environment.lines().any(|other| other == line), "{variable}");
    }
    let psql = |secret: &str, sql: &str| {
        let url = lab.secret(secret);
        lab.exec(
            "hasura",
            &[
                "psql",
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                &url,
                "--command",
                sql,
            ],
        )
    };
    // In its own database it keeps its metadata; in the host's it works as the owner of the shared tables.
    let made = psql(
        "hasura-metadata-url",
        "CREATE SCHEMA hdb_catalog; CREATE EXTENSION pgcrypto",
    );
    made.good("the metadata's database is Hasura's");
    let count = psql("hasura-source-url", "SELECT count(*) FROM public.families");
    assert_eq!(count.good("the shared tables").trim(), "0");
    let powerful = psql("hasura-source-url", "CREATE ROLE more");
    assert!(!powerful.success, "Hasura's login makes no roles");

    let settings = stack
        .service("hasura")
        .text("/environment/HASURA_GRAPHQL_JWT_SECRET");
    let settings: Value = serde_json::from_str(settings).expect("JSON");
    let token = sign_in(lab, settings["issuer"].as_str().expect("an issuer"));
    let keys = lab.exec(
        "hasura",
        &[
            "curl",
            "--silent",
            "--fail",
            settings["jwk_url"].as_str().expect("a URL"),
        ],
    );
    let keys = keys.good("the keys are where Hasura looks for them");
    let claims = verified(&token, &keys, &settings);
    let hasura = &claims[settings["claims_namespace"].as_str().expect("a name")];
    assert_eq!(hasura["x-hasura-default-role"], "user", "{hasura}");
    assert!(hasura["x-hasura-user-id"].is_string(), "{hasura}");
}

/// With the address and the secret that Hasura has in its environment.
fn an_event_of_hasura_becomes_a_job(lab: &Lab) {
    let authorization = format!(
        "authorization: {}",
        lab.secret("hasura-events-authorization")
    );
    let event = json!({
        "id": "85558393-c75d-4d2f-9c15-e80591b83894", "created_at": "2026-01-02T03:04:05.678901Z",
        "table": {"schema": "public", "name": "media_items"}, "trigger": {"name": "media_uploaded"},
        "event": {"op": "INSERT", "data": {"old": null, "new": {"id": 1}}, "session_variables": null},
        "delivery_info": {"max_retries": 0, "current_retry": 0},
    });
    let event = event.to_string();
    let told = |path: &str, header: &str| {
        let url = format!("http://nself:3000{path}");
        let options = [
            "--header",
            "content-type: application/json",
            "--header",
            header,
            "--data",
            &event,
        ];
        call(lab, &url, &options).expect("an answer")
    };
    let (status, body) = told("/v1/jobs/hasura/photos.resize", &authorization);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""status":"enqueued""#), "{body}");
    let (status, body) = told("/v1/jobs/hasura/photos.resize", &authorization);
    assert!(
        status == 200 && body.contains(r#""status":"exists""#),
        "{body}"
    );
    assert_eq!(told("/v1/jobs/hasura/photos.resize", "x-nothing: 1").0, 401);
    assert_eq!(
        told("/v1/jobs", &authorization).0,
        403,
        "the key does nothing else"
    );
}

/// Makes an account by the mail that it is sent: through the file's SMTP settings.
fn sign_in(lab: &Lab, public_url: &str) -> String {
    let (status, answer) = post(
        lab,
        "http://nself:3001/auth/register",
        &json!({"email": EMAIL, "password": PASSWORD}),
    );
    assert!(status < 300, "{status} {answer}");
    let mail = eventually("the mail is caught", || {
        let mails = page(lab, "http://mailpit:8025/", &[])?;
        let mails: Vec<Value> = serde_json::from_str(&mails).map_err(|error| error.to_string())?;
        mails
            .into_iter()
            .find(|mail| mail["to"][0] == EMAIL)
            .ok_or("no mail".to_owned())
    });
    let text = mail["text"].as_str().expect("a text");
    let (_, link) = text
        .split_once(&format!("{public_url}/auth/verify-email?token="))
        .unwrap_or_else(|| panic!("a link of NSELF_PUBLIC_URL: {text}"));
    let token = link.split_whitespace().next().expect("a token");
    let (status, answer) = post(
        lab,
        "http://nself:3001/auth/verify-email",
        &json!({"token": token}),
    );
    assert!(status < 300, "{status} {answer}");
    let (status, answer) = post(
        lab,
        "http://nself:3001/auth/login",
        &json!({"email": EMAIL, "password": PASSWORD}),
    );
    assert_eq!(status, 200, "{answer}");
    let session = answer.get("data").unwrap_or(&answer);
    let session = session.get("session").unwrap_or(session);
    let access = session["access_token"].as_str();
    access.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// The claims, by the rules that Hasura has for these settings: a key of the set, the issuer, one of the audiences.
fn verified(token: &str, keys: &str, settings: &Value) -> Value {
    let keys: JwkSet = serde_json::from_str(keys).expect("a key set");
    let header = decode_header(token).expect("a token");
    let key = keys.find(header.kid.as_deref().expect("a key's name"));
    let key = DecodingKey::from_jwk(key.expect("the key is in the set")).expect("a key");
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[settings["issuer"].as_str().expect("an issuer")]);
    rules.set_audience(&[settings["audience"].as_str().expect("an audience")]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    decode::<Value>(token, &key, &rules)
        .expect("Hasura takes it")
        .claims
}

fn the_proxy_lets_through_what_is_public(lab: &mut Lab) {
    let tree = tools().join("tree/usr/bin/caddy");
    lab.start(
        "caddy",
        &Image {
            files: vec![(tree, "/usr/bin/caddy".to_owned())],
            workdir: "/srv".to_owned(),
            ..Image::default()
        },
    );
    lab.healthy("caddy");
    let hosts = lab.visit(&["getent", "hosts", "caddy"]).good("its address");
    let address = hosts.split_whitespace().next().expect("an address");
    let (https, http) = (
        format!("localhost:443:{address}"),
        format!("localhost:80:{address}"),
    );
    let through = |path: &str| {
        let options = ["--insecure", "--resolve", https.as_str()];
        call(lab, &format!("https://localhost{path}"), &options).expect("an answer")
    };
    // Caddy answers before the authority that it makes has signed a certificate: handshakes end with an alert until then.
    eventually("the proxy has its certificate", || {
        page(
            lab,
            "https://localhost/readyz",
            &["--insecure", "--resolve", &https],
        )
    });
    assert_eq!(through("/metrics").0, 404);
    // Hasura is not there; its other APIs are the host's 404.
    assert_eq!(through("/v1/graphql").0, 502);
    assert_eq!(through("/v1/metadata").0, 404);
    let (status, _) =
        call(lab, "http://localhost/", &["--resolve", http.as_str()]).expect("an answer");
    assert_eq!(status, 308, "without TLS one is sent to TLS");
}

fn nothing_secret_is_in_a_process_list_or_an_environment(lab: &Lab, stack: &Stack) {
    let arguments = lab.arguments();
    let environment = lab
        .exec("nself", &["cat", "/proc/self/environ"])
        .good("its environment");
    for name in stack.at("/secrets").as_object().expect("secrets").keys() {
        let secret = lab.secret(name);
        assert!(!arguments.contains(&secret), "{name} is an argument");
        assert!(
            !environment.contains(&secret),
            "{name} is in an environment"
        );
    }
}

fn nothing_can_be_written_but_the_volumes(lab: &Lab) {
    for (path, writable) in [
        ("/usr/local/bin/x", false),
        ("/etc/x", false),
        ("/run/secrets/x", false),
        ("/tmp/x", true),
        ("/var/lib/nself/x", true),
    ] {
        let said = lab.exec("nself", &["touch", path]);
        assert_eq!(said.success, writable, "{path}: {}", said.err);
    }
}

/// Into another database of the same server: the roles are there, as `roles.sql` makes them in a new one.
fn a_dump_is_restored_as_the_readme_has_it(lab: &Lab) {
    let here = |line: &str| lab.exec("postgres", &["/bin/sh", "-euc", line]).good(line);
    let roles = here("pg_dumpall -U postgres --roles-only");
    assert!(
        roles.contains("CREATE ROLE nself_auth"),
        "the plugins' logins are in it"
    );
    here("pg_dump -U postgres --format=custom nself >/tmp/nself.dump");
    here("createdb -U postgres --owner=nself again");
    here("pg_restore -U postgres --exit-on-error --dbname=again </tmp/nself.dump");
    let count = here(
        "psql -U postgres --no-psqlrc --tuples-only --no-align --command 'SELECT count(*) FROM public.users' again",
    );
    assert_eq!(count.trim(), "1");
    let strangers = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'nself'::regnamespace AND has_function_privilege('public', oid, 'execute')";
    let open = here(&format!(
        "psql -U postgres --no-psqlrc --tuples-only --no-align --command \"{strangers}\" again"
    ));
    assert_eq!(open.trim(), "0", "the rights are restored, too");
}

fn the_host_stops_well_and_comes_back_with_what_it_had(lab: &mut Lab, nself: &Image) {
    let same = lab
        .exec("nself", &["nself-container", "upgrade"])
        .good("an upgrade to the same files");
    assert_eq!(same.matches("runs already").count(), 6, "{same}");
    lab.exec("nself", &["nself", "plugin", "disable", "scheduler"])
        .good("disable");
    assert!(lab.stop("nself"), "it ends well: {}", lab.log("nself"));
    lab.start("nself", nself);
    lab.healthy("nself");
    let list = lab
        .exec("nself", &["nself", "plugin", "list"])
        .good("the plugins");
    let state = |id: &str| {
        let line = list.lines().find(|line| line.starts_with(id));
        line.and_then(|line| line.split_whitespace().nth(1))
            .map(str::to_owned)
    };
    assert_eq!(state("auth").as_deref(), Some("started"), "{list}");
    assert_ne!(
        state("scheduler").as_deref(),
        Some("started"),
        "what was disabled stays so: {list}"
    );
    let (status, _) = post(
        lab,
        "http://nself:3001/auth/login",
        &json!({"email": EMAIL, "password": PASSWORD}),
    );
    assert_eq!(status, 200, "the account is still there");
}

#[test]
fn the_programs_that_stand_in_are_there() {
    assert!(answer(tool("caddy").arg("version")).success);
    for name in ["postgres.sh", "catcher.py", "graphql-engine", "network.sh"] {
        assert!(fs::metadata(stand_in(name)).is_ok(), "{name}");
    }
    let needed: Vec<PathBuf> = [
        "ip",
        "nsenter",
        "unshare",
        "setpriv",
        "curl",
        "wget",
        "redis-server",
        "redis-cli",
        "sysctl",
    ]
    .iter()
    .map(PathBuf::from)
    .collect();
    for program in needed {
        let found = answer(command("which").arg(&program));
        assert!(found.success, "install {}", program.display());
    }
}
