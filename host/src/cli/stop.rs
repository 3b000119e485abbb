//! `nself stop`

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CliError, Context, Exit, client};

/// Stop the host: accept nothing new, let what is in flight finish.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StopArgs {}

/// Beyond the grace period a host cuts off by itself; this is for the database to end.
const BEYOND_GRACE: Duration = Duration::from_secs(30);

/// How often it is asked whether it is gone.
const ASK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let stopping = client::request(context, "stop", Value::Null)?;
    let limit = Duration::from_millis(config.shutdown.grace_ms) + BEYOND_GRACE;
    let progress = context.progress("stopping");
    let begun = Instant::now();
    // The socket goes first; the process has ended only when its last thread has.
    while client::request(context, "status", Value::Null).is_ok() || is_there(&stopping["pid"]) {
        if begun.elapsed() > limit {
            return Err(
                CliError::new("STOP", Exit::TryAgain, "the host is still stopping").with_help(
                    format!("look at its log, or end it: kill -9 {}", stopping["pid"]),
                ),
            );
        }
        std::thread::sleep(ASK_EVERY);
    }
    drop(progress);
    context
        .output
        .answer(&json!({"stopped": stopping["pid"]}), || {
            "stopped\n".to_owned()
        })
}

/// Whether the process exists. One that has ended and waits for its parent to notice does not count; where there is no
/// /proc, the closed socket must do.
fn is_there(pid: &Value) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| {
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
    })
}
