//! `nself config`: the cascade, its complaints, and what it hides.

use std::fs;

use serde_json::Value;

use super::{Project, Ran};

#[track_caller]
fn check_value(
    project: &Project,
    variables: &[(&str, &str)],
    key: &str,
    value: impl Into<Value>,
    from: &str,
) {
    let ran = project.run_with(&["config", key, "--json"], variables);
    assert_eq!(ran.code, 0, "{ran:?}");
    let row = &ran.json()["data"][0];
    assert_eq!(
        (&row["value"], row["from"].as_str().unwrap()),
        (&value.into(), from)
    );
}

#[test]
fn each_source_is_stronger_than_the_one_before_and_is_named() {
    let project = Project::empty();
    check_value(&project, &[], "http.port", 3000, "default");
    let write = |name: &str, text: &str| fs::write(project.path().join(name), text).unwrap();
    write(
        "nself.toml",
        "environment = \"staging\"\n\n[http]\nport = 1\n",
    );
    check_value(&project, &[], "http.port", 1, "nself.toml:4");
    write(".env.prod", "PORT=9\n");
    write(".env.staging", "# of this environment\nPORT=2\n");
    check_value(&project, &[], "http.port", 2, ".env.staging:2 (PORT)");
    write(".env.secrets", "export PORT='3'\n");
    check_value(&project, &[], "http.port", 3, ".env.secrets:1 (PORT)");
    write(".env", "\nNSELF_HTTP__PORT=4\n");
    check_value(&project, &[], "http.port", 4, ".env:2 (NSELF_HTTP__PORT)");
    check_value(
        &project,
        &[("PORT", "5")],
        "http.port",
        5,
        "environment (PORT)",
    );
    let both = [("PORT", "5"), ("NSELF_HTTP__PORT", "6")];
    check_value(
        &project,
        &both,
        "http.port",
        6,
        "environment (NSELF_HTTP__PORT)",
    );
    check_value(
        &project,
        &[("ENV", "prod")],
        "environment",
        "production",
        "environment (ENV)",
    );
}

#[test]
fn variables_reach_plugins_lists_and_files() {
    let project = Project::with(&[
        ("nself.toml", "[plugins.my-notes]\n"),
        ("url", "postgres://me:hunter2@db/app\n"),
    ]);
    check_value(
        &project,
        &[("AUTH_PORT", "4001")],
        "plugins.auth.port",
        4001,
        "environment (AUTH_PORT)",
    );
    let dashed = [("NSELF_PLUGINS__MY_NOTES__PORT", "4002")];
    check_value(
        &project,
        &dashed,
        "plugins.my-notes.port",
        4002,
        "environment (NSELF_PLUGINS__MY_NOTES__PORT)",
    );
    let plugin = [("NSELF_PLUGINS__MAIL__CONFIG__FROM", "me@example.org")];
    check_value(
        &project,
        &plugin,
        "plugins.mail.config.from",
        "me@example.org",
        "environment (NSELF_PLUGINS__MAIL__CONFIG__FROM)",
    );
    let origins = [(
        "NSELF_HTTP__CORS_ORIGINS",
        "https://a.example, https://b.example",
    )];
    let list = serde_json::json!(["https://a.example", "https://b.example"]);
    check_value(
        &project,
        &origins,
        "http.cors_origins",
        list,
        "environment (NSELF_HTTP__CORS_ORIGINS)",
    );
    check_value(
        &project,
        &[("DATABASE_URL_FILE", "url")],
        "database.url",
        "***",
        "environment (DATABASE_URL_FILE)",
    );
    check_value(
        &project,
        &[("NSELF_LOG__FILE", "log")],
        "log.file",
        "log",
        "environment (NSELF_LOG__FILE)",
    );
    let others = [
        ("ENV", "/root/.shrc"),
        ("AUTH_PORT", "tcp://10.0.0.1:80"),
        ("PORT", ""),
    ];
    check_value(&project, &others, "environment", "development", "default");
}

#[track_caller]
fn check_refused(toml: &str, variables: &[(&str, &str)], expected: &[&str]) {
    let project = Project::with(&[("nself.toml", toml)]);
    let ran = project.run_with(&["config"], variables);
    ran.check(78, expected);
    assert_eq!(ran.stdout, "", "an answer beside the error");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    let name = "error[CONFIG_UNKNOWN_KEY]: unknown key";
    check_refused(
        "[http]\nprot = 1\n",
        &[],
        &[
            name,
            "`http.prot` in nself.toml:2",
            "help: did you mean `http.port`?",
        ],
    );
    check_refused(
        "[htpp]\nport = 1\n",
        &[],
        &["unknown key `htpp`", "did you mean `http`?"],
    );
    check_refused(
        "[plugins.auth]\nprot = 1\n",
        &[],
        &["did you mean `plugins.auth.port`?"],
    );
    let single = [("NSELF_HTTP_PORT", "1")];
    check_refused(
        "",
        &single,
        &[
            "`NSELF_HTTP_PORT` in environment",
            "did you mean `NSELF_HTTP__PORT`?",
        ],
    );
    check_refused(
        "zebra = 1\n",
        &[],
        &["remove it; `nself config` lists every key"],
    );
}

#[test]
fn a_wrong_value_is_named_with_what_was_expected() {
    check_refused(
        "[http]\nport = \"x\"\n",
        &[],
        &["`http.port` in nself.toml:2 must be a whole number from 0 to 65535, got \"x\""],
    );
    check_refused("[http]\nport = 65536\n", &[], &["got 65536"]);
    check_refused(
        "http = 3\n",
        &[],
        &["`http` in nself.toml:1 must be a table, got 3"],
    );
    check_refused(
        "[http.port]\nx = 1\n",
        &[],
        &[
            "`http.port` in nself.toml:2 must be a whole number",
            "got a table",
        ],
    );
    check_refused(
        "[log]\nlevel = \"loud\"\n",
        &[],
        &["must be one of off, error, warn, info, debug, trace, got \"loud\""],
    );
    check_refused(
        "",
        &[("NSELF_HTTP__PLUGIN_PORTS", "maybe")],
        &["must be true or false, got \"maybe\""],
    );
    check_refused(
        "[database]\nurl = 5\n",
        &[],
        &["`database.url` in nself.toml:2 must be a string, got 5"],
    );
    check_refused(
        "[plugins.\"Bad id\"]\nport = 1\n",
        &[],
        &["`plugins.Bad id` in nself.toml:2 must be named by lower-case"],
    );
    check_refused("[http\n", &[], &["error[CONFIG_SYNTAX]: nself.toml:1: "]);
}

#[test]
fn the_variables_of_opentelemetry_say_where_telemetry_goes() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://o.example:4318"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20never-shown",
        ),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "root.pem"),
        ("OTEL_SERVICE_NAME", "home"),
        ("OTEL_RESOURCE_ATTRIBUTES", "host.name=attic,a=b"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
    ];
    let ran = Project::empty().run_with(&["config", "telemetry"], &variables);
    ran.check(0, &[]);
    assert!(!ran.stdout.contains("never-shown"), "{ran:?}");
    for (variable, value) in variables {
        let is_it = |line: &&str| line.contains(variable);
        let line = ran.stdout.lines().find(is_it).unwrap_or_default();
        let is_shown = line.contains(value) || line.contains("***");
        assert!(is_shown, "{variable}: {line}");
    }
    check_refused(
        "",
        &[("OTEL_TRACES_EXPORTER", "zipkin")],
        &["must be one of otlp, none, got \"zipkin\""],
    );
}

#[test]
fn contradictions_between_sources_are_refused() {
    let both = [("DATABASE_URL", "postgres://a"), ("DATABASE_URL_FILE", "b")];
    check_refused(
        "",
        &both,
        &["error[CONFIG_STATED_TWICE]", "the process environment"],
    );
    check_refused(
        "",
        &[("REDIS_URL_FILE", "nowhere")],
        &["error[CONFIG_READ]", "nowhere", "cause: No such file"],
    );
    let project = Project::with(&[(".env.prod", "ENV=staging\n")]);
    project
        .run_with(&["config"], &[("ENV", "production")])
        .check(78, &["error[CONFIG_ENVIRONMENT_MOVED]", ".env.prod"]);
}

#[track_caller]
fn check_secret(toml: &str, variables: &[(&str, &str)], secret: &str, key: &str) {
    let project = Project::with(&[("nself.toml", toml)]);
    let in_production = [variables, &[("ENV", "prod")]].concat();
    let refused = project.run_with(&["config"], &in_production);
    refused.check(78, &["error[CONFIG_KNOWN_SECRET]", key]);
    let shown = project.run_with(&["config"], variables);
    shown.check(0, &[]);
    for ran in [refused, shown] {
        assert!(
            !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
            "{secret} is shown: {ran:?}"
        );
    }
}

#[test]
fn default_secrets_are_refused_in_production_and_no_secret_is_ever_shown() {
    check_secret(
        "",
        &[("DATABASE_URL", "postgres://me:changeme42@db/app")],
        "changeme42",
        "`database.url`",
    );
    check_secret(
        "",
        &[("REDIS_URL", "redis://:minioadmin@cache")],
        "minioadmin",
        "`redis.url`",
    );
    let demo = "your-super-secret-jwt-token-with-at-least-32-characters-long";
    check_secret(
        "",
        &[("NSELF_PLUGINS__AUTH__CONFIG__JWT_SECRET", demo)],
        demo,
        "`plugins.auth.config.jwt_secret`",
    );
    check_secret(
        "[plugins.mail.config.smtp]\npassword = \"super-secret-1\"\n",
        &[],
        "super-secret-1",
        "`plugins.mail.config.smtp.password`",
    );
    check_secret(
        "[plugins.mail.config]\nsmtp = \"smtp://me:changeme9@host\"\n",
        &[],
        "changeme9",
        "`plugins.mail.config.smtp`",
    );
}

#[test]
fn a_good_secret_is_accepted_in_production_and_masked() {
    let project = Project::empty();
    let variables = [
        ("ENV", "prod"),
        ("DATABASE_URL", "postgres://me:mF9x2Lq0vB@db/app"),
    ];
    let ran = project.run_with(&["config"], &variables);
    ran.check(0, &[]);
    assert!(
        ran.stdout.contains("database.url") && !ran.stdout.contains("mF9x2Lq0vB"),
        "{ran:?}"
    );
}

#[test]
fn parts_can_be_asked_for() {
    let project = Project::with(&[("nself.toml", "[http]\nport = 1\n[log]\nlevel = \"debug\"\n")]);
    let keys = |ran: &Ran| -> Vec<String> {
        let rows = ran.json()["data"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        keys(&project.run(&["config", "--stated", "--json"])),
        ["http.port", "log.level"]
    );
    assert_eq!(
        keys(&project.run(&["config", "log", "--json"])),
        ["log.level", "log.format", "log.file"]
    );
    project
        .run(&["config", "lo"])
        .check(2, &["error[CONFIG_NO_SUCH_KEY]: no key `lo`"]);
}

#[test]
fn secrets_are_listed_with_the_file_that_counts_and_without_their_values() {
    let project = Project::empty();
    project.run(&["init"]).check(0, &[]);
    let mounted = project.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    fs::write(mounted.join("smtp-password"), "correct horse").unwrap();
    fs::write(mounted.join("master-key"), "battery staple").unwrap();
    let mounts = [("NSELF_SECRETS__DIRECTORY", mounted.to_str().unwrap())];
    let before = project.run(&["config", "secrets", "--json"]).json();
    let after = project.run_with(&["config", "secrets", "--json"], &mounts);
    let files = |data: &Value| -> Vec<(String, String)> {
        let rows = data["data"].as_array().unwrap().iter();
        let files = rows.filter(|row| row["key"] != "secrets.directory");
        files
            .map(|row| {
                assert_eq!(row["value"], "***");
                let text = |name: &str| row[name].as_str().unwrap().to_owned();
                (text("key"), text("from"))
            })
            .collect()
    };
    let row = |name: &str, from: &str| (format!("secrets.files.{name}"), from.to_owned());
    assert_eq!(
        files(&before),
        [
            row("database-password", ".nself/secrets/database-password"),
            row("master-key", ".nself/secrets/master-key"),
        ]
    );
    assert_eq!(
        files(&after.json()),
        [
            row("database-password", ".nself/secrets/database-password"),
            row("master-key", "mounted/master-key"),
            row("smtp-password", "mounted/smtp-password"),
        ]
    );
    let all = project.run_with(&["config"], &mounts);
    all.check(0, &[]);
    for secret in ["correct horse", "battery staple"] {
        assert!(!all.stdout.contains(secret) && !after.stdout.contains(secret));
    }
}

#[test]
fn the_project_is_found_from_below() {
    let project = Project::with(&[("nself.toml", "[http]\nport = 77\n")]);
    let below = project.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    let output = project
        .command(&["config", "http.port"], &[])
        .current_dir(below)
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("77"));
}
