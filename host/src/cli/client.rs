//! The command line's side of the control socket.

use std::io;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{CliError, Context, Exit};
use crate::control::{LINE_BYTES_MAX, Reply, Request, SocketPath};

/// Asks the host that runs in the project; `on_progress` gets each line that it says meanwhile.
///
/// # Errors
///
/// `HOST_NOT_RUNNING` when there is none; `HOST_LOST` when it went away; else what it answered.
pub async fn call(
    state_directory: &Path,
    command: &str,
    args: Value,
    mut on_progress: impl FnMut(&str),
) -> Result<Value, CliError> {
    let socket = SocketPath::new(state_directory).map_err(|error| unreachable(&error))?;
    let mut stream = UnixStream::connect(&socket.path)
        .await
        .map_err(|error| unreachable(&error))?;
    let request = Request {
        command: command.to_owned(),
        args,
    };
    let mut line = serde_json::to_vec(&request).expect("a request is plain JSON");
    line.push(b'\n');
    stream
        .write_all(&line)
        .await
        .map_err(|error| lost(&error.to_string()))?;

    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)
            .await;
        match read {
            Ok(0) => return Err(lost("it closed the connection without an answer")),
            Err(error) => return Err(lost(&error.to_string())),
            Ok(_) => {}
        }
        match serde_json::from_slice(&line)
            .map_err(|error| lost(&format!("its answer is not valid: {error}")))?
        {
            Reply::Progress { progress } => on_progress(&progress),
            Reply::Done { data, .. } => return Ok(data),
            Reply::Failed { error, .. } => return Err(error),
        }
    }
}

/// [`call`] from a command: shows the progress, and needs no runtime around it.
pub fn request(context: &Context, command: &str, args: Value) -> Result<Value, CliError> {
    let (config, _) = context.config()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))?;
    let progress = context.progress(command);
    runtime.block_on(call(&config.state_directory(), command, args, |line| {
        progress.set(line);
    }))
}

fn unreachable(error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CliError::new(
            "HOST_NOT_RUNNING",
            Exit::Unavailable,
            "no host runs in this project",
        )
        .with_help("start it with `nself up`"),
        io::ErrorKind::PermissionDenied => {
            let error = CliError::of("CONTROL_REFUSED", Exit::Permission, error);
            error.with_help("run this as the user of the host, or as root")
        }
        _ => CliError::of("HOST_LOST", Exit::Unavailable, error),
    }
}

fn lost(cause: &str) -> CliError {
    let error = CliError::new(
        "HOST_LOST",
        Exit::Unavailable,
        "the host went away before it answered",
    );
    error
        .with_cause(cause)
        .with_help("see whether it still runs: `nself status`")
}
