//! Commands that arrive over the control socket, while the host runs.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::info;

use super::Host;
use crate::{
    audit::Entry,
    cli::{CliError, Exit},
    config::{Config, process_variables},
    control::{Control, ProgressSender},
    plugin::{
        lock::LockRefusal,
        registry::{ChangeError, Data, NewSigner, Registry, State, Usage},
        trust,
    },
    telemetry::Telemetry,
};

/// Drain time of `plugin disable` without `--drain`, and of an upgrade.
const DRAIN: Duration = Duration::from_secs(30);

/// Pages of the gateway.
const PAGES: [(&str, &str); 5] = [
    ("gateway", ""),
    ("health", "/readyz"),
    ("api", "/openapi.json"),
    ("reference", "/reference"),
    ("metrics", "/metrics"),
];

/// Answers commands for one host.
pub struct HostControl {
    /// The host.
    pub host: Arc<Host>,
    /// Its log.
    pub telemetry: Arc<Telemetry>,
}

#[derive(Deserialize)]
struct Top {
    /// The families of metrics that are read.
    families: Vec<String>,
}

#[derive(Deserialize)]
struct Level {
    filter: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Disable {
    id: String,
    drain_ms: Option<u64>,
    #[serde(default)]
    cascade: bool,
}

#[derive(Deserialize)]
struct Replace {
    id: String,
    drain_ms: Option<u64>,
    #[serde(default)]
    new_signer: bool,
}

#[derive(Deserialize)]
struct ReplaceFile {
    file: PathBuf,
    drain_ms: Option<u64>,
    #[serde(default)]
    new_signer: bool,
}

#[derive(Deserialize)]
struct File {
    file: PathBuf,
}

#[derive(Deserialize)]
struct Remove {
    id: String,
    #[serde(default)]
    data: bool,
}

fn args<T: DeserializeOwned>(command: &str, args: Value) -> Result<T, CliError> {
    serde_json::from_value(args).map_err(|error| {
        CliError::new(
            "CONTROL_ARGUMENTS",
            Exit::Usage,
            format!("{command}: {error}"),
        )
    })
}

fn drain(ms: Option<u64>) -> Duration {
    ms.map_or(DRAIN, Duration::from_millis)
}

fn consent(new_signer: bool) -> NewSigner {
    if new_signer {
        NewSigner::Accept
    } else {
        NewSigner::Refuse
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Value, CliError> {
    serde_json::to_value(value).map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))
}

impl Control for HostControl {
    async fn handle(
        &self,
        command: String,
        value: Value,
        progress: ProgressSender,
    ) -> Result<Value, CliError> {
        let registry = self.host.registry();
        match command.as_str() {
            "status" => Ok(self.status().await),
            "top" => {
                let Top { families } = args(&command, value)?;
                Ok(self.top(&families).await)
            }
            "urls" => Ok(urls(&self.host)),
            "stop" => {
                progress.send("stopping");
                self.host
                    .audit(&Entry::new("host.stop_asked", "host"))
                    .await;
                self.host.request_stop();
                Ok(json!({"pid": std::process::id()}))
            }
            "log.level" => {
                let Level { filter } = args(&command, value)?;
                self.log_level(filter.as_deref(), &progress).await
            }
            "plugin.list" => json(&registry.look_again()),
            "plugin.commands" => Ok(commands(registry)),
            "operator.pass" => self.pass(),
            "plugin.enable" => {
                let Named { id } = args(&command, value)?;
                progress.send(format!("starting {id}"));
                json(&registry.enable(&id).await?)
            }
            "plugin.disable" => {
                let Disable {
                    id,
                    drain_ms,
                    cascade,
                } = args(&command, value)?;
                progress.send(format!("draining {id}"));
                json(&registry.disable(&id, drain(drain_ms), cascade).await?)
            }
            "plugin.upgrade" => {
                let Replace {
                    id,
                    drain_ms,
                    new_signer,
                } = args(&command, value)?;
                progress.send(format!(
                    "starting the new version of {id} beside the old one"
                ));
                let signer = consent(new_signer);
                json(&registry.upgrade(&id, drain(drain_ms), signer).await?)
            }
            "plugin.upgrade_file" => {
                let ReplaceFile {
                    file,
                    drain_ms,
                    new_signer,
                } = args(&command, value)?;
                progress.send("starting the new version beside the old one");
                let (drain, signer) = (drain(drain_ms), consent(new_signer));
                json(&registry.upgrade_file(&file, drain, signer).await?)
            }
            "plugin.rollback" => {
                let Replace { id, drain_ms, .. } = args(&command, value)?;
                progress.send(format!("starting the previous version of {id}"));
                json(&registry.roll_back(&id, drain(drain_ms)).await?)
            }
            "plugin.grant" => {
                let Named { id } = args(&command, value)?;
                json(&json!({"id": id, "granted": registry.grant(&id).await?}))
            }
            "plugin.grant_file" => {
                let File { file } = args(&command, value)?;
                let (id, granted) = registry.grant_file(&file).await?;
                json(&json!({"id": id, "granted": granted}))
            }
            "plugin.release" => {
                let Named { id } = args(&command, value)?;
                progress.send(format!("starting {id}"));
                json(&registry.release(&id).await?)
            }
            "plugin.trust" => {
                // As the files and the process's environment say it now; nothing else of them takes effect.
                let directory = &self.host.config().directory;
                let (config, _) = Config::load(directory, &process_variables())?;
                registry.set_trust(trust::of(&config));
                Ok(json!({}))
            }
            "plugin.remove" => {
                let Remove { id, data } = args(&command, value)?;
                let fate = if data { Data::Drop } else { Data::Keep };
                registry.remove(&id, fate).await?;
                json(&json!({"id": id, "data_dropped": data}))
            }
            other => Err(CliError::new(
                "CONTROL_COMMAND",
                Exit::Usage,
                format!("this host knows no command {other}"),
            )
            .with_help(
                "the host and the command line are of different versions: restart the host",
            )),
        }
    }
}

impl HostControl {
    /// What is logged; with a filter, from now on.
    async fn log_level(
        &self,
        filter: Option<&str>,
        progress: &ProgressSender,
    ) -> Result<Value, CliError> {
        let before = self.telemetry.level();
        let Some(filter) = filter else {
            return Ok(json!({"filter": before}));
        };
        self.telemetry
            .set_level(filter)
            .map_err(|error| CliError::of(error.code(), Exit::Usage, &error))?;
        progress.send("telling the plugins");
        self.host.registry().push_log_level().await;
        let filter = self.telemetry.level();
        info!(filter, before, "log level changed");
        let entry = Entry {
            details: json!({"filter": filter, "before": before}),
            ..Entry::new("host.log_level_changed", "host")
        };
        self.host.audit(&entry).await;
        Ok(json!({"filter": filter, "before": before}))
    }

    /// What a command of a plugin needs to send its request.
    fn pass(&self) -> Result<Value, CliError> {
        let host = &self.host;
        let pass = host
            .operator_pass()
            .map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
        let certificate = host.certificate().map(|sha256| HEXLOWER.encode(&sha256));
        if host.is_without_certificate() {
            let message = "the host has no certificate yet, and so answers nobody";
            let error = CliError::new("TLS_CERTIFICATE", Exit::TryAgain, message);
            return Err(error.with_help("see why: `nself doctor`"));
        }
        let proxies = host.proxies_that_tell();
        let proxies: Vec<String> = proxies.iter().map(ToString::to_string).collect();
        Ok(json!({
            "gateway": host.gateway(),
            "certificate": certificate,
            "proxies": proxies,
            "key": &*pass.secret,
        }))
    }

    /// The status, what is used, and numbers from which whoever looks twice works out rates.
    async fn top(&self, families: &[String]) -> Value {
        let plugins = self.host.registry().plugins().into_iter();
        let usage: BTreeMap<String, Usage> = plugins
            .map(|plugin| (plugin.id.clone(), plugin.usage()))
            .collect();
        json!({
            "status": self.status().await,
            "usage": usage,
            "connections": self.host.connections(),
            "metrics": self.host.numbers(families),
        })
    }

    async fn status(&self) -> Value {
        let host = &self.host;
        let plugins = host.registry().plugins();
        let database = host.database_answers().await;
        // One that is degraded runs: to start everything anew for it, as who watches containers does, would help nobody.
        let healthy = plugins
            .iter()
            .all(|plugin| !plugin.enabled || plugin.state == State::Started);
        json!({
            "healthy": healthy && database,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": host.uptime().as_secs(),
            "environment": host.config().environment,
            "gateway": host.gateway().map(|address| format!("{}://{address}", host.scheme())),
            "database": host.database_source(),
            "database_state": if database { "running" } else { "away" },
            "retired_versions": host.registry().retired(),
            "plugins": plugins,
        })
    }
}

/// The commands of the plugins that run, by plugin.
fn commands(registry: &Registry) -> Value {
    let plugins = registry.plugins().into_iter();
    let listed = plugins.filter_map(|plugin| {
        let commands = plugin.commands();
        let entry = json!({
            "id": plugin.id, "name": plugin.command(), "description": plugin.description, "commands": commands,
        });
        (!commands.is_empty()).then_some(entry)
    });
    Value::Array(listed.collect())
}

/// What of a host can be reached where.
pub fn urls(host: &Host) -> Value {
    let mut urls = Vec::new();
    for (plugin, address) in host.addresses() {
        let base = format!("{}://{address}", host.scheme());
        match plugin {
            None => {
                for (name, path) in PAGES {
                    urls.push(json!({"name": name, "url": format!("{base}{path}")}));
                }
            }
            Some(plugin) => urls.push(json!({"name": &*plugin, "url": base})),
        }
    }
    Value::Array(urls)
}

impl From<ChangeError> for CliError {
    fn from(error: ChangeError) -> Self {
        let (code, exit) = match &error {
            ChangeError::NoFile { .. } => ("PLUGIN_NOT_FOUND", Exit::Failed),
            ChangeError::Locked(LockRefusal::NotGranted { .. }) => {
                ("PLUGIN_NOT_GRANTED", Exit::Permission)
            }
            ChangeError::Locked(LockRefusal::Signer { .. }) => ("PLUGIN_SIGNER", Exit::Permission),
            ChangeError::Locked(LockRefusal::Held { .. }) | ChangeError::Order(_) => {
                ("PLUGIN_DOES_NOT_FIT", Exit::Failed)
            }
            ChangeError::Locked(_) => ("PLUGIN_NOT_ACCEPTED", Exit::Failed),
            ChangeError::LockFile(_) => ("PLUGINS_LOCK", Exit::BadData),
            ChangeError::Start(_) => ("PLUGIN_DID_NOT_START", Exit::Failed),
            ChangeError::Routes(_) => ("PLUGIN_ROUTES", Exit::Failed),
            ChangeError::Needed { .. } | ChangeError::DataNeeded { .. } => {
                ("PLUGIN_NEEDED", Exit::Failed)
            }
            ChangeError::Audit(_) => ("AUDIT_REFUSED", Exit::Unavailable),
            ChangeError::Data(_) => ("PLUGIN_DATA", Exit::Failed),
            ChangeError::File(_) => ("PLUGIN_REFUSED", Exit::BadData),
            ChangeError::NotRunning(_) => ("PLUGIN_NOT_RUNNING", Exit::Failed),
            ChangeError::Runs(_) => ("PLUGIN_RUNS", Exit::Failed),
            ChangeError::Quarantined(_) => ("PLUGIN_QUARANTINED", Exit::Failed),
            ChangeError::NotQuarantined(_) => ("PLUGIN_NOT_QUARANTINED", Exit::Failed),
            ChangeError::Crashes(_) => ("CRASHES_FILE", Exit::CannotCreate),
            ChangeError::Login(_) | ChangeError::Cursors(_) | ChangeError::Database(_) => {
                ("DATABASE_UNREACHABLE", Exit::Unavailable)
            }
            ChangeError::Remove { .. } | ChangeError::Place { .. } => {
                ("PLUGIN_FILE", Exit::CannotCreate)
            }
        };
        Self::of(code, exit, &error)
    }
}
