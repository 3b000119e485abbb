//! What is looked at, but for the database.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Look, certificate, database};
use crate::{
    backup::{Record, newest},
    capability::http::Egress,
    cli::{CliError, Context, Exit, client, plugin},
    config::{
        Config,
        secrets::{MASTER_KEY, SecretError, Secrets},
    },
    exhaustion::files_max,
    http::{ListenError, listen::refused},
    run::{RunError, room},
    telemetry::otlp::{self, OtlpSettings},
};

/// Less than this is a warning, and below the second nothing can be relied upon: a database that cannot write stops.
const FREE_BYTES_FEW: u64 = 1 << 30;
const FREE_BYTES_MIN: u64 = 100 << 20;

/// A backup that is older is a warning: one a day may be late, and may fail once.
const BACKUP_OLD: SignedDuration = SignedDuration::from_hours(48);

/// Each connection takes a file, and a stream's gateway has thousands.
const FILES_FEW: u64 = 4096;

/// What is looked at, what it is good for, and the look.
type Check = (&'static str, &'static str, fn(&Examined<'_>) -> Look);

/// In the order in which one should be mended before the next.
pub(super) const ALL: [Check; 11] = [
    (
        "secrets",
        "who can read them can sign tokens and open what plugins have sealed; without the master key nobody opens it again",
        secrets,
    ),
    (
        "plugins",
        "a plugin whose accepted file is gone, or that crashed the host again and again, does not start, nor do those that need it",
        plugins,
    ),
    (
        "host",
        "nobody answers while it does not run, and what does not start is missing",
        host,
    ),
    (
        "port",
        "the host cannot listen where another program does",
        port,
    ),
    (
        "certificate",
        "browsers, apps and Hasura turn away from a host whose certificate does not hold",
        certificate::look,
    ),
    ("database", "everything is kept in it", database::look),
    (
        "clock",
        "tokens, schedules and delayed jobs go by the time, on the host and in the database",
        database::clock,
    ),
    (
        "backups",
        "a disk that is lost takes everything with it that was not backed up",
        backups,
    ),
    ("disk", "the database stops when it cannot write", disk),
    (
        "files",
        "each connection takes an open file: beyond the limit nobody is let in",
        files,
    ),
    (
        "telemetry",
        "traces and metrics that no collector takes are dropped",
        telemetry,
    ),
];

/// A project that is looked at.
pub(super) struct Examined<'a> {
    pub(super) context: &'a Context,
    pub(super) config: Config,
    /// For questions to the host and the database.
    pub(super) runtime: Runtime,
    /// What the host says of itself, or why it does not.
    pub(super) status: Result<Value, CliError>,
}

impl<'a> Examined<'a> {
    pub(super) fn new(context: &'a Context, config: Config) -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
        let directory = config.state_directory();
        let status = runtime.block_on(client::call(&directory, "status", Value::Null, |_| {}));
        Ok(Self {
            context,
            config,
            runtime,
            status,
        })
    }
}

fn secrets(examined: &Examined<'_>) -> Look {
    let config = &examined.config;
    // To open the store would make it.
    if !config.state_directory().join("secrets").is_dir() {
        return Look::warning(
            "none of its own yet",
            "`nself init` or the first `nself up` makes them",
        );
    }
    let read = || -> Result<_, SecretError> {
        let secrets = Secrets::of(config)?;
        let names = Secrets::files(config)?;
        for name in names.keys() {
            drop(secrets.get(name)?);
        }
        Ok((names.len(), names.contains_key(MASTER_KEY)))
    };
    match read() {
        Ok((count, true)) => Look::ok(format!("{count}, read by their owner alone")),
        Ok((count, false)) => Look::warning(
            format!("{count}, and no {MASTER_KEY}"),
            "put the one of your backup back before the host starts; a project that has sealed nothing yet gets one by itself",
        ),
        Err(error) => Look::of(&CliError::from(error)),
    }
}

fn plugins(examined: &Examined<'_>) -> Look {
    let left_out = match plugin::left_out(examined.context) {
        Ok(left_out) => left_out,
        Err(error) => return Look::of(&error),
    };
    match plugin::accepted(examined.context) {
        Ok(accepted) if accepted.missing.is_empty() && !left_out.is_empty() => {
            let reasons: Vec<String> = left_out.into_iter().map(|(_, reason)| reason).collect();
            Look::failed(
                reasons.join("; "),
                "see what it did: `crashes.toml` in the state directory; then `nself plugin release ID`, or `nself plugin upgrade ID` to a version without the fault",
            )
        }
        Ok(accepted) if accepted.missing.is_empty() => {
            let enabled = accepted
                .plugins
                .iter()
                .filter(|plugin| plugin.enabled)
                .count();
            Look::ok(format!("{enabled} enabled of {}", accepted.plugins.len()))
        }
        Ok(accepted) => Look::failed(
            accepted.missing.join("; "),
            "put the file back into the plugin directory, or take the plugin off the list: `nself plugin disable ID`, `nself plugin remove ID`",
        ),
        Err(error) => Look::of(&error),
    }
}

fn host(examined: &Examined<'_>) -> Look {
    const MORE: &str = "more of it: `nself status`, `nself plugin list`, `nself logs --level warn`";
    let status = match &examined.status {
        Ok(status) => status,
        Err(error) if error.code == "HOST_NOT_RUNNING" => {
            return Look::warning("none runs in this project", "start it with `nself up`");
        }
        Err(error) => return Look::of(error),
    };
    let pid = &status["pid"];
    let unwell = unwell(status).join("; ");
    if status["healthy"] == json!(true) {
        if !unwell.is_empty() {
            return Look::warning(format!("runs, pid {pid}, but not well: {unwell}"), MORE);
        }
        let version = status["version"].as_str().unwrap_or_default();
        return Look::ok(format!("{version} runs, pid {pid}, all its parts do"));
    }
    let what = if unwell.is_empty() {
        "the database does not answer it"
    } else {
        &unwell
    };
    Look::failed(
        format!("runs, pid {pid}, and something does not: {what}"),
        MORE,
    )
}

/// Enabled plugins that do not run, or not well, and why.
fn unwell(status: &Value) -> Vec<String> {
    let plugins = status["plugins"].as_array().into_iter().flatten();
    let is_well = |plugin: &&Value| {
        plugin["enabled"] == json!(false)
            || (plugin["state"] == json!("started") && plugin["degraded"] == json!(false))
    };
    plugins
        .filter(|plugin| !is_well(plugin))
        .map(|plugin| {
            let text = |field: &str| plugin[field].as_str().unwrap_or_default();
            match text("reason") {
                "" => format!("{} is {}", text("id"), text("state")),
                reason => format!("{}: {reason}", text("id")),
            }
        })
        .collect()
}

fn port(examined: &Examined<'_>) -> Look {
    let http = &examined.config.http;
    if let Ok(status) = &examined.status {
        return Look::ok(status["gateway"].as_str().unwrap_or_default());
    }
    let redirect = http.tls.redirect_port;
    let redirect = redirect.map(|port| (port, "http.tls.redirect_port"));
    let mut free = Vec::new();
    for (port, setting) in [(http.port, "http.port")].into_iter().chain(redirect) {
        let address = SocketAddr::new(http.bind, port);
        match TcpListener::bind(address) {
            Ok(_) => free.push(format!("{address} is free")),
            Err(error) => return taken(&refused(address, error, setting), port),
        }
    }
    Look::ok(free.join(", "))
}

fn taken(error: &ListenError, port: u16) -> Look {
    Look::failed(
        error.to_string(),
        format!(
            "`ss -ltnp sport = :{port}` says it to root. Where systemd holds the port for the host, all is well: `systemctl start nself`"
        ),
    )
}

fn backups(examined: &Examined<'_>) -> Look {
    if examined.config.database.url.is_some() {
        return Look::ok("those of whoever runs the database");
    }
    match newest(&examined.config) {
        Ok(newest) => age(newest.as_ref(), Timestamp::now()),
        Err(error) => Look::of(&error.into()),
    }
}

/// Whether the newest backup is new enough.
fn age(newest: Option<&Record>, now: Timestamp) -> Look {
    const FIX: &str = "`nself backup create` makes one; the job `jobs.base_backup` on a schedule makes them by itself (operator guide)";
    let Some(newest) = newest else {
        return Look::warning("none that was tried", FIX);
    };
    let found = format!("the newest is {}, of {:.0}", newest.id, newest.from);
    if now.duration_since(newest.from) > BACKUP_OLD {
        return Look::warning(found, FIX);
    }
    Look::ok(found)
}

fn disk(examined: &Examined<'_>) -> Look {
    let least = room::least(&examined.config.state_directory());
    let Some((free, place)) = least else {
        return Look::warning("how much is free cannot be told", "look with `df`");
    };
    enough(free, &place)
}

fn enough(free: u64, place: &Path) -> Look {
    let found = format!("{} MiB free at {}", free >> 20, place.display());
    let fix = "make room: `nself audit archive` puts old months away, backups may lie elsewhere; or give it a larger disk";
    match free {
        _ if free < FREE_BYTES_MIN => Look::failed(found, fix),
        _ if free < FREE_BYTES_FEW => Look::warning(found, fix),
        _ => Look::ok(found),
    }
}

fn files(examined: &Examined<'_>) -> Look {
    // Those of this command, which are the host's when the same shell or unit starts it.
    let pid = examined
        .status
        .as_ref()
        .ok()
        .and_then(|status| status["pid"].as_u64());
    let limit = pid.and_then(files_of).or_else(files_max);
    let limit = limit.unwrap_or(u64::MAX);
    if limit == u64::MAX {
        return Look::ok("no limit");
    }
    let found = format!("at most {limit} open at a time");
    if limit >= FILES_FEW {
        return Look::ok(found);
    }
    Look::warning(
        found,
        "`ulimit -n 65536` before the host starts; `LimitNOFILE=65536` in a systemd unit; `ulimits` in compose",
    )
}

/// The collector is asked to take nothing, which needs all that it takes to give it something.
fn telemetry(examined: &Examined<'_>) -> Look {
    let settings = match OtlpSettings::of(&examined.config) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Look::ok("nothing is exported: there is no telemetry.endpoint"),
        Err(error) => return Look::of(&RunError::from(error).into()),
    };
    let asked = Egress::new().map_err(|error| error.to_string());
    let asked = asked.and_then(|egress| {
        let probe = otlp::probe(&settings, &egress);
        examined.runtime.block_on(probe)
    });
    match asked {
        Ok(()) => Look::ok(format!("{} takes it", settings.origin())),
        Err(reason) => Look::warning(
            format!("{} does not: {reason}", settings.origin()),
            "see that the collector runs there and takes OTLP over HTTP (port 4318 by default, not 4317), and what is in telemetry.headers; a signal that it does not know is left out with telemetry.traces_exporter or metrics_exporter = \"none\"",
        ),
    }
}

/// The soft limit of a process, from proc(5).
fn files_of(pid: u64) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};
    use crate::backup::Holds;

    #[test]
    fn a_backup_of_the_day_before_yesterday_is_a_warning() {
        let now: Timestamp = "2030-03-31T02:30:00Z".parse().expect("a time");
        let of = |from: &str| Record {
            id: from.replace(['-', ':'], ""),
            from: from.parse().expect("a time"),
            nself: "0.1.0".to_owned(),
            postgres: "15.18".to_owned(),
            bytes: 1,
            segment: String::new(),
            holds: Holds::default(),
            tried: None,
        };
        assert_eq!(age(None, now).state, State::Warning);
        let last = of("2030-03-29T02:30:00Z");
        assert_eq!(age(Some(&last), now).state, State::Ok);
        let old = age(Some(&of("2030-03-29T02:29:59Z")), now);
        assert_eq!(
            (old.state, &*old.found),
            (
                State::Warning,
                "the newest is 20300329T022959Z, of 2030-03-29T02:29:59Z"
            )
        );
    }

    #[test]
    fn a_disk_that_fills_up_is_a_warning_and_a_full_one_a_failure() {
        for (free, state) in [
            (FREE_BYTES_FEW, State::Ok),
            (FREE_BYTES_FEW - 1, State::Warning),
            (FREE_BYTES_MIN - 1, State::Failed),
            (0, State::Failed),
        ] {
            assert_eq!(enough(free, Path::new("/srv")).state, state, "{free}");
        }
    }
}
