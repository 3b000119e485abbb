//! The table of all keys: what may stand where, and what it means.

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A file or directory; relative ones start at the project's directory.
    Path,
    /// An IP address.
    Address,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// `true` or `false`.
    Flag,
    /// A list of texts; in the environment: separated by commas.
    TextList,
    /// A list of public keys, each with a name after it; in the environment: separated by commas.
    KeyList,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table of free keys; in the environment: JSON.
    Table,
}

impl Kind {
    /// What it must be, as a sentence goes on after "must be".
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text | Self::Secret => "a string".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Address => "an IP address".to_owned(),
            Self::Integer(least, most) if most == i64::MAX => {
                format!("a whole number from {least}")
            }
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Flag => "true or false".to_owned(),
            Self::TextList => "a list of strings".to_owned(),
            Self::KeyList => "a list of minisign public keys, such as \"RWQ… a name\"".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Table => "a table".to_owned(),
        }
    }
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Dotted path; `*` stands for a name that the user chooses.
    pub path: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// What it does, with its unit.
    pub about: &'static str,
}

const fn key(path: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { path, kind, about }
}

const PORT: Kind = Kind::Integer(0, 65_535);
const SOME: Kind = Kind::Integer(1, i64::MAX);
const SMALL: Kind = Kind::Integer(1, 10_000);
const COUNT: Kind = Kind::Integer(1, u32::MAX as i64);

/// All keys, in the order of `nself config`.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("project.name", Kind::Text, "Name of the project, for people. When empty: the directory's name."),
    key("environment", Kind::Choice(&["development", "staging", "production"]), "Which environment this is; `dev`, `stage` and `prod` are accepted too. Outside development, known default secrets are refused."),
    key("http.bind", Kind::Address, "Address that every listener binds."),
    key("http.port", PORT, "Gateway port; 0 lets the system choose."),
    key("http.public_url", Kind::Text, "The host's address as people see it, such as `https://home.example`, without a path: plugins are told it, and `http.tls.redirect_port` sends there. When absent: plugins are told `http.bind` and `http.port`."),
    key("http.plugin_ports", Kind::Flag, "Whether each plugin also listens on its own port."),
    key("http.header_bytes_max", Kind::Integer(1_024, 1_048_576), "Largest request header block, in bytes."),
    key("http.body_bytes_max", SOME, "Largest request body unless the route says otherwise, in bytes."),
    key("http.header_timeout_ms", SOME, "Time to send the whole header, in milliseconds."),
    key("http.request_timeout_ms", SOME, "Time for a handler to answer unless the route says otherwise, in milliseconds."),
    key("http.idle_timeout_ms", SOME, "Time that a kept connection may be silent, in milliseconds."),
    key("http.websocket_ping_ms", SOME, "Silence of a WebSocket client after which it is asked whether it is there, in milliseconds; after as long again it is dropped."),
    key("http.websocket_deflate", Kind::Flag, "Whether messages of WebSockets are compressed (permessage-deflate) for clients that offer it. Each is compressed by itself, a published one once for all that get it; short ones are not. It takes processor time, and where a message holds a secret beside something that a stranger may choose, its length says something of the secret."),
    key("http.connections_max", COUNT, "Open connections over all listeners."),
    key("http.concurrency_per_plugin", COUNT, "Requests that one plugin works on at a time; more are answered 503."),
    key("http.rate_per_minute", COUNT, "Requests per minute and caller unless the route says otherwise; more are answered 429."),
    key("http.cors_origins", Kind::TextList, "Origins that browsers may call from; `*` allows all, without credentials."),
    key("http.trusted_proxies", Kind::TextList, "Proxies before the host, as addresses or networks such as `10.0.0.0/8`: their `x-forwarded-for` says who calls, and their `x-forwarded-proto` whether by TLS. From anybody else both mean nothing."),
    key("http.proxy_protocol", Kind::Flag, "Whether the `http.trusted_proxies` say who calls by the PROXY protocol (version 1 or 2), before everything else, as balancers that speak no HTTP do. They have to then, on every port: a connection of theirs without it is closed. Anybody else's with it is closed, too, and without it is a caller as any other."),
    key("http.hsts_seconds", Kind::Integer(0, u32::MAX as i64), "Seconds for which browsers that came by TLS are told to use nothing else (`strict-transport-security`); 0 tells them nothing. They cannot be told otherwise before it is over, so begin with 300."),
    key("http.tls.certificate", Kind::Path, "File with the certificate of the host and, behind it, those of its issuers, as PEM. With it every listener speaks TLS 1.2 and 1.3. When absent: plain HTTP, for this machine or behind a proxy."),
    key("http.tls.key", Kind::Path, "File with the private key of that certificate, as PEM and not encrypted. It has to be readable by its owner alone (0600 or 0400), as secrets are; a link is followed."),
    key("http.tls.redirect_port", PORT, "Port without TLS beside those with it, for who comes by `http://`: it answers 308 with the same path of `http.public_url`, which has to be set, and what an authority asks that is about to certify the host. Usually 80. When absent: there is none."),
    key("http.tls.acme.domains", Kind::TextList, "Names of this host, such as `home.example`, for which it asks an authority for a certificate by itself (ACME), and for another one when a third of its life is left, in the place of `http.tls.certificate` and `http.tls.key`. `http.tls.redirect_port` has to be set, and has to be what answers at port 80 of each name: the authority asks there. When empty: nobody is asked."),
    key("http.tls.acme.contact", Kind::TextList, "Mail addresses to which the authority may write."),
    key("http.tls.acme.directory", Kind::Text, "Directory of the authority, an https address. That of Let's Encrypt for tests is `https://acme-staging-v02.api.letsencrypt.org/directory`: nobody trusts its certificates, and it counts less. Each directory has an account and a certificate of its own among the secrets."),
    key("http.tls.acme.ca", Kind::Path, "File with certificates, as PEM, that are trusted besides the system's when the authority is asked: for an authority of one's own."),
    key("http.tls.acme.terms_of_service_agreed", Kind::Flag, "Whether you agree to the authority's terms of service. Nobody is asked before."),
    key("database.url", Kind::Secret, "External Postgres. When absent, `nself up` runs a private cluster."),
    key("database.bin_directory", Kind::Path, "Directory of the Postgres programs for the private cluster. When absent: searched for."),
    key("database.backup_directory", Kind::Path, "Where archives of the database lie that plugins have made. Whoever reads them reads everything."),
    key("database.keep_running", Kind::Flag, "Whether the private cluster stays up when the host stops."),
    key("database.pool_max", SMALL, "Connections of the host's own pool."),
    key("database.plugin_pool_max", SMALL, "Connections of each plugin's pool."),
    key("database.connect_timeout_ms", SOME, "Time to wait for a connection, in milliseconds."),
    key("database.backup_bucket.endpoint", Kind::Text, "S3 endpoint to which archives of the database are copied and from which they are read back, such as `https://s3.eu-central-1.amazonaws.com`. When absent: they stay on this machine."),
    key("database.backup_bucket.region", Kind::Text, "Region that requests are signed for."),
    key("database.backup_bucket.name", Kind::Text, "Bucket of that endpoint. Whoever reads it reads everything."),
    key("database.backup_bucket.prefix", Kind::Text, "What the keys of archives begin with, such as `home/`."),
    key("database.backup_bucket.access_key", Kind::Text, "Access key that may list, read, write and delete there."),
    key("database.backup_bucket.secret", Kind::Text, "Name of the secret (a file in `secrets.directory` or `.nself/secrets/`) that holds the secret of that access key."),
    key("backup.directory", Kind::Path, "Where base backups of the private cluster lie, and the log of writes since. When absent: in `backups` beside the cluster's data. Another disk is better. Whoever reads them reads everything."),
    key("backup.keep", SMALL, "How many base backups stay; with an older one goes what of the log of writes only it had needed."),
    key("redis.url", Kind::Secret, "Redis for the kv capability, and for `nself.pubsub/1`, by which plugins tell the other replicas what nobody keeps; all replicas have the same one, or none. When absent, Postgres takes its place: a table, and NOTIFY of plugins that have that to fall back on."),
    key("plugins.directory", Kind::Path, "Where plugin files are dropped."),
    key("plugins.start_timeout_ms", SOME, "Time for a plugin to be opened, and then to be created and started, in milliseconds."),
    key("plugins.good_run_ms", SOME, "Time that a plugin has to run until its crashes of the host are forgotten, in milliseconds. The second crash without such a run in between quarantines it."),
    key("plugins.signatures", Kind::Choice(&["off", "warn", "require"]), "What becomes of plugin files that no trusted key has signed: nothing, a line in the log, or they are refused. When absent: `off` in development, else `warn`. See [plugins of others](plugins-of-others.md)."),
    key("plugins.trust", Kind::KeyList, "Public keys of minisign that may sign plugins and catalogues, each with a name after it, such as `RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 alice`. `nself plugin trust` keeps it."),
    key("plugins.catalogue", Kind::Text, "Index of plugins that are installed by name: the address of an `index.json`, or a file. When absent: there is none."),
    key("plugins.*.port", PORT, "The plugin's own port. When absent: the seed's (auth 3001, orchestrator 3002, scheduler 3003, jobs 3004, stream 3005; mail 8025), else none."),
    key("plugins.*.listen", Kind::Table, "Where TCP ports that the plugin's manifest asks for are bound instead, such as `1025 = 2525`."),
    key("plugins.*.egress", Kind::TextList, "Hosts that the plugin may call besides those of its manifest, such as `sso.lan` and `10.0.0.5:8443`: private addresses have to be named here, because the `*` of a manifest is every public one."),
    key("plugins.*.capabilities", Kind::TextList, "Capabilities of other plugins that the plugin may call besides those of its manifest, such as `mail.send/1` for schedules that send mails. Those of the host are none of them."),
    key("plugins.*.run", Kind::TextList, "What the plugin may run on this machine, if it asks for that at all: `shell`, `script:js`, `script:python`, `container` or `container:IMAGE` (`*` at its end for what follows), `volume:/PATH` for what a container may see of the machine, `program:/PATH`. When empty: nothing."),
    key("plugins.*.isolation", Kind::Choice(&["host", "process"]), "Where the plugin runs: in the host's process, or in one of its own that reaches nothing but the host. When absent: `process` outside of development for a file that nobody who is trusted signed, else `host`."),
    key("plugins.*.memory_bytes", SOME, "Memory that a plugin in a process of its own may write to, in bytes. When absent: 1 GiB."),
    key("plugins.*.config", Kind::Table, "The plugin's own keys, checked against its schema when it is loaded."),
    key("programs.user", Kind::Text, "Account that programs which plugins run have when the host runs as root. A host that does not run as root can give them no other than its own, and they can read what it can."),
    key("programs.path", Kind::TextList, "Directories in which interpreters and docker or podman are looked for: `PATH` of what runs."),
    key("programs.container_program", Kind::Path, "The command line of docker or podman. When absent: looked for in `programs.path`."),
    key("programs.at_once_max", SMALL, "How many programs run at a time; others wait."),
    key("programs.seconds_max", Kind::Integer(1, 86_400), "Time that one may take, in seconds; then it is ended."),
    key("programs.cpu_seconds_max", Kind::Integer(1, 86_400), "Processor time of each of its processes, in seconds."),
    key("programs.memory_bytes_max", Kind::Integer(67_108_864, i64::MAX), "Memory of each of its processes, in bytes; of a container, of all of it."),
    key("programs.file_bytes_max", SOME, "Largest file that one may write, in bytes."),
    key("programs.files_max", Kind::Integer(16, 1_048_576), "Open files of each of its processes."),
    key("programs.processes_max", SMALL, "Processes and threads that one may have."),
    key("programs.output_bytes_max", Kind::Integer(1, 67_108_864), "What one may write to standard output and error together, in bytes. One that writes more is ended."),
    key("secrets.directory", Kind::Path, "Directory where others put secrets, such as `/run/secrets`: one file for each name, read before `.nself/secrets/` and never written. When absent: only `.nself/secrets/`."),
    key("identity.issuer", Kind::Text, "Issuer that tokens must name. Needed with a key set."),
    key("identity.audience", Kind::Text, "Audience that tokens must name. Needed with a key set."),
    key("identity.jwks_file", Kind::Path, "File with a JSON Web Key Set that tokens are verified with."),
    key("identity.jwks", Kind::Table, "The key set itself, as a table."),
    key("identity.api_keys.*.secret", Kind::Text, "Name of the secret (a file in `secrets.directory` or `.nself/secrets/`) that holds this operator's or service's API key."),
    key("identity.api_keys.*.sha256", Kind::Text, "Or: the SHA-256 of the API key, hexadecimal."),
    key("identity.api_keys.*.scopes", Kind::TextList, "What the key may do; `operator` is everything."),
    key("log.level", Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]), "Least level that is written. `NSELF_LOG` takes a filter such as `info,nself::http=debug` and goes first."),
    key("log.format", Kind::Choice(&["auto", "pretty", "json"]), "How log lines look; `auto` is pretty on a terminal and JSON otherwise."),
    key("log.file", Kind::Path, "File to append log lines to. When absent: standard error."),
    key("telemetry.endpoint", Kind::Text, "Collector of OpenTelemetry to which traces and metrics are sent (OTLP over HTTP), such as `http://127.0.0.1:4318`; `/v1/traces` and `/v1/metrics` follow. Also `OTEL_EXPORTER_OTLP_ENDPOINT`. When absent: nothing is recorded and nothing sent."),
    key("telemetry.headers", Kind::Secret, "Headers of each request to it, such as `authorization=Bearer%20TOKEN`, with commas in between. Also `OTEL_EXPORTER_OTLP_HEADERS`."),
    key("telemetry.certificate", Kind::Path, "File with certificates, as PEM, that are trusted besides the system's when it is spoken to. Also `OTEL_EXPORTER_OTLP_CERTIFICATE`."),
    key("telemetry.service_name", Kind::Text, "What this service is called there. Also `OTEL_SERVICE_NAME`. When absent: `service.name` of the attributes, else `nself`."),
    key("telemetry.resource_attributes", Kind::Text, "What else is said of it, such as `service.namespace=home,host.name=attic`. Also `OTEL_RESOURCE_ATTRIBUTES`."),
    key("telemetry.traces_exporter", Kind::Choice(&["otlp", "none"]), "Whether traces are sent. Also `OTEL_TRACES_EXPORTER`."),
    key("telemetry.traces_sampler", Kind::Choice(&["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"]), "Which traces are recorded. With `parentbased_` whoever calls with a `traceparent` decides about his own. Also `OTEL_TRACES_SAMPLER`."),
    key("telemetry.traces_sampler_arg", Kind::Text, "The part of all traces that the samplers with a ratio record, from 0 to 1. Also `OTEL_TRACES_SAMPLER_ARG`."),
    key("telemetry.metrics_exporter", Kind::Choice(&["otlp", "none"]), "Whether the metrics are sent; `/metrics` shows them in any case. Also `OTEL_METRICS_EXPORTER`."),
    key("telemetry.metric_export_interval_ms", SOME, "Time between two exports of the metrics, in milliseconds. Also `OTEL_METRIC_EXPORT_INTERVAL`."),
    key("audit.keep_months", SMALL, "Months of the audit log that stay in the database besides the current one; older ones are written to files, proved and removed. When absent: all stay."),
    key("audit.directory", Kind::Path, "Where months of the audit log are put away."),
    key("shutdown.grace_ms", SOME, "Time for requests and tasks in flight when the host stops, in milliseconds."),
];

/// What [`KEYS`] says about a path.
pub(super) enum Place {
    /// A key, or a place inside the free table of one.
    Key(&'static Key, Depth),
    /// A table that has keys inside.
    Section,
    /// Nothing: the segment at this index is the first that is wrong.
    Unknown(usize),
}

/// Whether a path is a key itself or a place inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Whole,
    Inside,
}

/// Finds `path` in [`KEYS`].
pub(super) fn find(path: &[String]) -> Place {
    let mut known_segments = 0;
    let mut section = false;
    for key in KEYS {
        let pattern: Vec<&str> = key.path.split('.').collect();
        let agreeing = agreeing_segments(&pattern, path);
        known_segments = known_segments.max(agreeing);
        if agreeing == pattern.len() {
            let depth = if path.len() == pattern.len() {
                Depth::Whole
            } else {
                Depth::Inside
            };
            return Place::Key(key, depth);
        }
        section |= agreeing == path.len();
    }
    if section {
        Place::Section
    } else {
        Place::Unknown(known_segments)
    }
}

fn agreeing_segments(pattern: &[&str], path: &[String]) -> usize {
    pattern
        .iter()
        .zip(path)
        .take_while(|(wanted, given)| **wanted == "*" || **wanted == given.as_str())
        .count()
}

/// The known key that `path`, wrong at segment `at`, was probably meant to be.
pub(super) fn suggestion(path: &[String], at: usize) -> Option<String> {
    let wrong = &path[at];
    let mut best: Option<(f64, String)> = None;
    for key in KEYS {
        let pattern: Vec<&str> = key.path.split('.').collect();
        let beside = pattern
            .get(at)
            .filter(|_| agreeing_segments(&pattern, path) >= at);
        let beside = beside.map(|segment| {
            (
                strsim::jaro_winkler(segment, wrong),
                with_names(&pattern[..=at], path),
            )
        });
        // The right word in the wrong table: `port` at the top level is `http.port`.
        let elsewhere =
            (pattern.last() == Some(&wrong.as_str())).then(|| (0.85, key.path.to_owned()));
        for (likeness, meant) in [beside, elsewhere].into_iter().flatten() {
            if likeness >= 0.8 && best.as_ref().is_none_or(|(most, _)| likeness > *most) {
                best = Some((likeness, meant));
            }
        }
    }
    best.map(|(_, meant)| meant)
}

/// `plugins.*.prot` as the user wrote it: `plugins.auth.port`.
fn with_names(pattern: &[&str], path: &[String]) -> String {
    let named = pattern.iter().zip(path).map(|(segment, given)| {
        if *segment == "*" {
            given.as_str()
        } else {
            segment
        }
    });
    named.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_suggestion(path: &str, expected: Option<&str>) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let Place::Unknown(at) = find(&path) else {
            panic!("{path:?} is known")
        };
        assert_eq!(suggestion(&path, at).as_deref(), expected);
    }

    #[test]
    fn misspelt_keys_get_the_key_that_was_meant() {
        check_suggestion("http.prot", Some("http.port"));
        check_suggestion("htpp.port", Some("http"));
        check_suggestion("plugins.auth.prot", Some("plugins.auth.port"));
        check_suggestion("port", Some("http.port"));
        check_suggestion("databse.url", Some("database"));
        check_suggestion("zebra", None);
    }

    #[test]
    fn the_table_and_the_types_name_the_same_keys() {
        let mut config = super::super::Config::default();
        config
            .plugins
            .by_id
            .insert("*".to_owned(), super::super::PluginSettings::default());
        config
            .identity
            .api_keys
            .insert("*".to_owned(), super::super::ApiKey::default());
        let tree = serde_json::to_value(&config).expect("the configuration serialises");
        let mut of_types = Vec::new();
        leaves(&tree, String::new(), &mut of_types);
        let mut of_table: Vec<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
        of_types.sort();
        of_table.sort();
        assert_eq!(of_types, of_table);
    }

    fn leaves(value: &serde_json::Value, path: String, into: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(table) if !table.is_empty() => {
                for (name, value) in table {
                    leaves(
                        value,
                        if path.is_empty() {
                            name.clone()
                        } else {
                            format!("{path}.{name}")
                        },
                        into,
                    );
                }
            }
            _ => into.push(path),
        }
    }
}
