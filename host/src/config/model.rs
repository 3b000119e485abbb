//! The typed configuration. What each key means stands in [`super::KEYS`], which a test keeps equal to this file.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Secret;

/// Ports of the seed's plugins, and of the mail catcher's page where MailHog has it, used when `plugins.<id>.port` is not stated.
pub const SEED_PORTS: &[(&str, u16)] = &[
    ("auth", 3001),
    ("orchestrator", 3002),
    ("scheduler", 3003),
    ("jobs", 3004),
    ("stream", 3005),
    ("mail", 8025),
];

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The project's directory: where it was loaded from, not a setting.
    #[serde(skip)]
    pub directory: PathBuf,
    /// The project itself.
    pub project: Project,
    /// Which environment this is; default `development`.
    pub environment: Environment,
    /// Listeners and limits.
    pub http: Http,
    /// Postgres.
    pub database: Database,
    /// Backups of the private cluster.
    pub backup: Backup,
    /// Redis, optional.
    pub redis: Redis,
    /// Plugins.
    pub plugins: Plugins,
    /// Programs that plugins run.
    pub programs: Programs,
    /// Secrets that are files.
    pub secrets: SecretFiles,
    /// Who may call.
    pub identity: Identity,
    /// Logs.
    pub log: Log,
    /// Traces and metrics for a collector.
    pub telemetry: Telemetry,
    /// The audit log.
    pub audit: Audit,
    /// How the host stops.
    pub shutdown: Shutdown,
}

/// The project itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// Name for people; default: the directory's.
    pub name: String,
}

/// Which environment this is. Outside development, known default secrets are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine.
    #[default]
    Development,
    /// Like production, without its users.
    Staging,
    /// The real thing.
    Production,
}

impl Environment {
    /// Its full name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    /// The `.env` file that only this environment reads.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Development => ".env.dev",
            Self::Staging => ".env.staging",
            Self::Production => ".env.prod",
        }
    }
}

/// Listeners and limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address that every listener binds; default 127.0.0.1.
    pub bind: IpAddr,
    /// Gateway port; default 3000, 0 lets the system choose.
    pub port: u16,
    /// Scheme, name and port by which people reach it; default: none.
    pub public_url: Option<String>,
    /// Whether each plugin also listens on a port of its own; default true.
    pub plugin_ports: bool,
    /// Largest request header block, bytes; default 16 KiB.
    pub header_bytes_max: usize,
    /// Largest request body unless the route says otherwise, bytes; default 1 MiB.
    pub body_bytes_max: u64,
    /// Time to send the whole header, milliseconds; default 10 s.
    pub header_timeout_ms: u64,
    /// Time for a handler unless the route says otherwise, milliseconds; default 30 s.
    pub request_timeout_ms: u64,
    /// Time that a kept connection may be silent, milliseconds; default 60 s.
    pub idle_timeout_ms: u64,
    /// Silence of a WebSocket client before it is asked whether it is there, and again before it is dropped,
    /// milliseconds; default 30 s. Below the idle time of the proxies on the way.
    pub websocket_ping_ms: u64,
    /// Whether messages of WebSockets are compressed for clients that offer it (permessage-deflate); default false.
    pub websocket_deflate: bool,
    /// Open connections over all listeners; default 10,000.
    pub connections_max: usize,
    /// Requests that one plugin works on at a time; default 512.
    pub concurrency_per_plugin: usize,
    /// Requests per minute and caller unless the route says otherwise; default 6,000.
    pub rate_per_minute: u32,
    /// Origins that browsers may call from; default none. `*` allows all, without credentials.
    pub cors_origins: Vec<String>,
    /// Proxies, as addresses or networks, that are believed whom they speak for; default none.
    pub trusted_proxies: Vec<String>,
    /// Whether those say whom they speak for by the PROXY protocol; default false.
    pub proxy_protocol: bool,
    /// Seconds for which browsers that came by TLS use nothing else; default 0, nothing is said to them.
    pub hsts_seconds: u32,
    /// TLS of the listeners themselves.
    pub tls: HttpTls,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 3000,
            public_url: None,
            plugin_ports: true,
            header_bytes_max: 16 * 1024,
            body_bytes_max: 1024 * 1024,
            header_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            websocket_ping_ms: 30_000,
            websocket_deflate: false,
            connections_max: 10_000,
            concurrency_per_plugin: 512,
            rate_per_minute: 6_000,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            hsts_seconds: 0,
            tls: HttpTls::default(),
        }
    }
}

/// TLS of the listeners themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTls {
    /// The certificate of the host and those of its issuers, PEM; default: none, they speak plain HTTP.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// Port without TLS that sends callers on to `http.public_url`; default: none.
    pub redirect_port: Option<u16>,
    /// Certificates that the host gets by itself.
    pub acme: HttpAcme,
}

/// Certificates that the host gets by itself (ACME, RFC 8555).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpAcme {
    /// Names that they are for; default: none, nobody is asked.
    pub domains: Vec<String>,
    /// Mail addresses to which the authority may write; default none.
    pub contact: Vec<String>,
    /// The authority's directory; default: that of Let's Encrypt.
    pub directory: String,
    /// Certificates to trust besides the system's when asking it, PEM; default: none.
    pub ca: Option<PathBuf>,
    /// Whether somebody has agreed to its terms of service; default false.
    pub terms_of_service_agreed: bool,
}

impl Default for HttpAcme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca: None,
            terms_of_service_agreed: false,
        }
    }
}

/// Postgres.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// External Postgres; default: none, `nself up` runs a private one.
    pub url: Option<Secret>,
    /// Directory of the Postgres programs for the private cluster; default: searched for.
    pub bin_directory: Option<PathBuf>,
    /// Where archives of the database lie; default `backups`.
    pub backup_directory: PathBuf,
    /// Where they lie once more.
    pub backup_bucket: BackupBucket,
    /// Whether the private cluster stays when the host stops; default false.
    pub keep_running: bool,
    /// Connections of the host's own pool; default 8.
    pub pool_max: usize,
    /// Connections of each plugin's pool; default 8.
    pub plugin_pool_max: usize,
    /// Time to wait for a connection, milliseconds; default 5 s.
    pub connect_timeout_ms: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            bin_directory: None,
            backup_directory: PathBuf::from("backups"),
            backup_bucket: BackupBucket::default(),
            keep_running: false,
            pool_max: 8,
            plugin_pool_max: 8,
            connect_timeout_ms: 5_000,
        }
    }
}

/// A bucket of an S3 endpoint, optional.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupBucket {
    /// The endpoint; default: none, archives stay on this machine.
    pub endpoint: Option<String>,
    /// Region that requests are signed for; default `us-east-1`.
    pub region: String,
    /// Name of the bucket.
    pub name: Option<String>,
    /// What keys begin with; default empty.
    pub prefix: String,
    /// Whose key signs.
    pub access_key: Option<String>,
    /// Name of the secret that holds that key's secret.
    pub secret: Option<String>,
}

impl Default for BackupBucket {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            name: None,
            prefix: String::new(),
            access_key: None,
            secret: None,
        }
    }
}

/// Backups of the private cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// Where they lie; default: beside the data of the cluster.
    pub directory: Option<PathBuf>,
    /// How many base backups stay; default 7.
    pub keep: usize,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            directory: None,
            keep: 7,
        }
    }
}

/// Redis, optional.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// Where it is; default: none, Postgres takes its place.
    pub url: Option<Secret>,
}

/// Plugins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Plugins {
    /// Where `.so` files are dropped; default `plugins.d`.
    pub directory: PathBuf,
    /// Time for a plugin to be opened, and then to be created and started, milliseconds; default 30 s.
    pub start_timeout_ms: u64,
    /// Time after which a plugin that runs is forgiven its crashes, milliseconds; default 10 minutes.
    pub good_run_ms: u64,
    /// What becomes of files that nobody who is trusted signed; default: off in development, else warn.
    pub signatures: Option<SignaturePolicy>,
    /// Public keys that may sign plugins, each with a name after a space; default none.
    pub trust: Vec<String>,
    /// The index of plugins that can be installed by name, an address or a file; default none.
    pub catalogue: Option<String>,
    /// The tables `[plugins.<id>]`.
    #[serde(flatten)]
    pub by_id: BTreeMap<String, PluginSettings>,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("plugins.d"),
            start_timeout_ms: 30_000,
            good_run_ms: 600_000,
            signatures: None,
            trust: Vec::new(),
            catalogue: None,
            by_id: BTreeMap::new(),
        }
    }
}

/// What becomes of plugin files that nobody who is trusted signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignaturePolicy {
    /// Nothing.
    Off,
    /// A line in the log.
    Warn,
    /// They are refused.
    Require,
}

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// In the host's process.
    Host,
    /// In a process of its own, which reaches nothing but the host.
    Process,
}

/// One plugin's table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginSettings {
    /// Port of its own; default: the seed's, else none.
    pub port: Option<u16>,
    /// Where ports that the manifest asks for are bound instead: `1025 = 2525`; default: as in the manifest.
    pub listen: BTreeMap<String, u16>,
    /// Hosts that it may call besides those of its manifest, private addresses among them; default none.
    pub egress: Vec<String>,
    /// Capabilities of other plugins that it may call besides those of its manifest; default none.
    pub capabilities: Vec<String>,
    /// What it may run: `shell`, `script:python`, `container:alpine:*`; default none.
    pub run: Vec<String>,
    /// Where it runs: `host` or `process`; default: `process` outside of development when nobody who is trusted signed it, else `host`.
    pub isolation: Option<Isolation>,
    /// Memory that it may write to when it runs in a process of its own, bytes; default 1 GiB.
    pub memory_bytes: Option<u64>,
    /// The plugin's own keys, checked against its schema when it is loaded.
    pub config: Map<String, Value>,
}

/// Programs that plugins run, as far as `plugins.<id>.run` lets them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Programs {
    /// Account that they have when the host runs as root; default `nobody`.
    pub user: String,
    /// Directories in which they are looked for; default `/usr/local/bin`, `/usr/bin`, `/bin`.
    pub path: Vec<String>,
    /// The command line of docker or podman; default: searched for in `path`.
    pub container_program: Option<PathBuf>,
    /// How many run at a time; default 8.
    pub at_once_max: usize,
    /// Time for one, seconds; default 1 h.
    pub seconds_max: u64,
    /// Processor time of one process, seconds; default 10 min.
    pub cpu_seconds_max: u64,
    /// Memory of one process, bytes; default 1 GiB.
    pub memory_bytes_max: u64,
    /// Largest file that one writes, bytes; default 256 MiB.
    pub file_bytes_max: u64,
    /// Open files of one process; default 256.
    pub files_max: u64,
    /// Processes and threads of one; default 128.
    pub processes_max: u64,
    /// What one may write to its output, bytes; default 1 MiB.
    pub output_bytes_max: usize,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            user: "nobody".to_owned(),
            path: ["/usr/local/bin", "/usr/bin", "/bin"]
                .map(str::to_owned)
                .to_vec(),
            container_program: None,
            at_once_max: 8,
            seconds_max: 3_600,
            cpu_seconds_max: 600,
            memory_bytes_max: 1 << 30,
            file_bytes_max: 256 << 20,
            files_max: 256,
            processes_max: 128,
            output_bytes_max: 1 << 20,
        }
    }
}

/// Secrets that are files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretFiles {
    /// Where others put secrets; read before `.nself/secrets` and never written; default: none.
    pub directory: Option<PathBuf>,
}

/// Who may call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Issuer that tokens must name; needed with a key set.
    pub issuer: Option<String>,
    /// Audience that tokens must name; needed with a key set.
    pub audience: Option<String>,
    /// File with a JSON Web Key Set; default none.
    pub jwks_file: Option<PathBuf>,
    /// The key set itself; default none.
    pub jwks: Option<Map<String, Value>>,
    /// Keys of operators and services, by name.
    pub api_keys: BTreeMap<String, ApiKey>,
}

/// A key of an operator or a service. The key itself is never in the configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the secret that holds the key.
    pub secret: Option<String>,
    /// Or: SHA-256 of the key, hexadecimal.
    pub sha256: Option<String>,
    /// What it may do; `operator` is everything.
    pub scopes: Vec<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One compact line for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Logs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least level that is written; default `info`.
    pub level: String,
    /// How lines look; default `auto`.
    pub format: LogFormat,
    /// File to append to; default: standard error.
    pub file: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
            file: None,
        }
    }
}

/// Traces and metrics for a collector of OpenTelemetry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Where the collector takes OTLP over HTTP; default: none, nothing is exported.
    pub endpoint: Option<String>,
    /// Headers of each request to it, such as its token; default none.
    pub headers: Option<Secret>,
    /// Certificates to trust besides the system's when it is spoken to, PEM; default: none.
    pub certificate: Option<PathBuf>,
    /// Name of this service; default: that of `resource_attributes`, else `nself`.
    pub service_name: Option<String>,
    /// What else is said of it; default none.
    pub resource_attributes: String,
    /// Whether traces are exported; default `otlp`.
    pub traces_exporter: TelemetryExporter,
    /// Which traces are recorded; default `parentbased_always_on`.
    pub traces_sampler: TracesSampler,
    /// The part of all traces, for samplers with a ratio; default 1.
    pub traces_sampler_arg: String,
    /// Whether metrics are exported; default `otlp`.
    pub metrics_exporter: TelemetryExporter,
    /// Between two exports of the metrics, milliseconds; default 60 s.
    pub metric_export_interval_ms: u64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: None,
            certificate: None,
            service_name: None,
            resource_attributes: String::new(),
            traces_exporter: TelemetryExporter::Otlp,
            traces_sampler: TracesSampler::ParentbasedAlwaysOn,
            traces_sampler_arg: "1".to_owned(),
            metrics_exporter: TelemetryExporter::Otlp,
            metric_export_interval_ms: 60_000,
        }
    }
}

/// How a signal leaves the process, in the words of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TelemetryExporter {
    /// To the collector.
    Otlp,
    /// Not at all.
    None,
}

/// Which traces are recorded, in the words of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TracesSampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A part.
    Traceidratio,
    /// Those that a caller records, and all that begin here.
    ParentbasedAlwaysOn,
    /// Those that a caller records.
    ParentbasedAlwaysOff,
    /// Those that a caller records, and a part of those that begin here.
    ParentbasedTraceidratio,
}

/// The audit log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Months that stay in the database besides the current one; older ones go into files. Without it all stay.
    pub keep_months: Option<u32>,
    /// Where the files go; relative to the project's directory.
    pub directory: PathBuf,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            keep_months: None,
            directory: PathBuf::from("audit"),
        }
    }
}

/// How the host stops.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Time for what is in flight, milliseconds; default 30 s.
    pub grace_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace_ms: 30_000 }
    }
}
