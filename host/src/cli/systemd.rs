//! `nself systemd`: the units that let systemd run the host of a project.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::Path,
};

use clap::ValueEnum;

use super::{CliError, Context, Exit};
use crate::config::Config;

/// Longest start: the first one makes a cluster, and an upgrade may have migrations that take their time.
const START_SECONDS: u64 = 600;

/// What is left to close after callers were waited for, the database among it.
const STOP_MARGIN_SECONDS: u64 = 60;

/// Open files: each connection is one.
const FILES: u32 = 65_536;

/// Print a unit that lets systemd run the host of this project
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "nself systemd service | sudo tee /etc/systemd/system/nself.service
nself systemd socket | sudo tee /etc/systemd/system/nself.socket
sudo systemctl daemon-reload && sudo systemctl enable --now nself.socket nself.service"
)]
pub(super) struct SystemdArgs {
    /// Which of the two
    unit: Unit,
    /// The account that runs it [default: the owner of the project's directory]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unit {
    /// What runs: the host, in a sandbox
    Service,
    /// Where it listens: systemd holds the port, so that no connection is refused while the host restarts
    Socket,
}

pub(super) fn run(context: &Context, args: &SystemdArgs) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let text = match args.unit {
        Unit::Socket => socket(&config),
        Unit::Service => {
            let program = std::env::current_exe()
                .map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
            service(&config, &program, &user(&config, args.user.as_deref())?)
        }
    };
    context.output.chunk(text.as_bytes()).map(|_| ())
}

fn socket(config: &Config) -> String {
    let mut text = format!(
        "[Unit]\nDescription=The port of nself ({})\n\n[Socket]\n",
        config.project.name
    );
    let gateway = SocketAddr::new(config.http.bind, config.http.port);
    line(&mut text, "ListenStream", gateway);
    if let Some(port) = config.http.tls.redirect_port {
        let redirect = SocketAddr::new(config.http.bind, port);
        line(&mut text, "ListenStream", redirect);
    }
    // Without it systemd binds a v6 address for both families, which is another one than the host is told.
    if matches!(config.http.bind, IpAddr::V6(_)) {
        line(&mut text, "BindIPv6Only", "ipv6-only");
    }
    line(&mut text, "Backlog", 4096);
    line(&mut text, "NoDelay", "yes");
    text.push_str("\n[Install]\nWantedBy=sockets.target\n");
    text
}

/// Everything that the host does not need is taken from it: `systemd-analyze security nself.service` judges it.
fn service(config: &Config, program: &Path, user: &str) -> String {
    let directory = config.directory.to_string_lossy();
    let verb = if config.database.url.is_some() {
        "serve"
    } else {
        "up"
    };
    let stop_seconds = config.shutdown.grace_ms.div_ceil(1000) + STOP_MARGIN_SECONDS;
    let mut text = format!(
        "[Unit]\nDescription=nself ({})\nWants=network-online.target\nAfter=network-online.target nself.socket\nRequires=nself.socket\n\n[Service]\n",
        config.project.name
    );
    let start = [&*program.to_string_lossy(), verb, "--project", &directory]
        .map(word)
        .join(" ")
        .replace('$', "$$");
    for (key, value) in [
        ("Type", "notify"),
        ("User", user),
        ("WorkingDirectory", &directory),
        ("ExecStart", &start),
        ("Restart", "on-failure"),
        ("RestartSec", "2"),
        ("TimeoutStartSec", &START_SECONDS.to_string()),
        ("TimeoutStopSec", &stop_seconds.to_string()),
        // The host ends its database itself.
        ("KillMode", "mixed"),
        ("LimitNOFILE", &FILES.to_string()),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ReadWritePaths", &writable(config)),
        (
            "ProtectHome",
            if is_home(&config.directory) {
                "no"
            } else {
                "yes"
            },
        ),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectClock", "yes"),
        ("ProtectHostname", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelTunables", "yes"),
        // The last one is what names are looked up with.
        (
            "RestrictAddressFamilies",
            "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        ),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("LockPersonality", "yes"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallErrorNumber", "EPERM"),
    ] {
        line(&mut text, key, value);
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a String does not fail. A percent sign is systemd's own.
    let value = value.to_string().replace('%', "%%");
    let _ = writeln!(text, "{key}={value}");
}

/// One word of a list, as systemd.syntax(7) has it.
fn word(text: &str) -> String {
    if text.contains(|letter: char| letter.is_whitespace() || "\"'\\".contains(letter)) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}

/// The project's directory, and others in which the operator wants backups. One that is not there keeps nothing from starting.
fn writable(config: &Config) -> String {
    let own = &config.directory;
    let elsewhere = [
        config.backup.directory.as_ref(),
        Some(&config.database.backup_directory),
    ];
    let elsewhere = elsewhere.into_iter().flatten();
    let elsewhere = elsewhere
        .map(|path| config.resolve(path))
        .filter(|path| !path.starts_with(own))
        .map(|path| word(&format!("-{}", path.display())));
    let own = word(&own.to_string_lossy());
    std::iter::once(own)
        .chain(elsewhere)
        .collect::<Vec<String>>()
        .join(" ")
}

fn is_home(directory: &Path) -> bool {
    ["/home", "/root", "/run/user"]
        .iter()
        .any(|home| directory.starts_with(home))
}

/// Who runs it: not root, whose Postgres would run as somebody else, which takes what the sandbox takes away.
fn user(config: &Config, stated: Option<&str>) -> Result<String, CliError> {
    let owner = std::fs::metadata(&config.directory)
        .map_err(|error| CliError::of("PROJECT_NOT_FOUND", Exit::Failed, &error))?
        .uid();
    match stated {
        Some("root" | "0") => {}
        Some(name) => return Ok(name.to_owned()),
        None if owner != 0 => return Ok(owner.to_string()),
        None => {}
    }
    let directory = config.directory.display();
    let message = "the host is not to run as root under systemd";
    Err(CliError::new("SYSTEMD_ROOT", Exit::Usage, message).with_help(format!(
        "give the project to an account of its own: `useradd --system nself && chown -R nself: {directory}`, or name one with --user"
    )))
}
