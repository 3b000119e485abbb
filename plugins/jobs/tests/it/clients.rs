//! Workers and receivers that others could have written, by node, with packages of pinned versions.

use nself_plugin_testkit::{node_scripts, within};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

/// A script that runs beside the test and prints lines of JSON. It ends with the value.
pub(crate) struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts a script of `tests/clients`.
    pub(crate) async fn start(script: &str, variables: &[(&str, &str)]) -> Self {
        let scripts = node_scripts!("tests/clients").await;
        let mut command = scripts.script(script);
        let mut child = scripts.start(command.envs(variables.iter().copied()));
        let printed = child.stdout.take().expect("what it prints is read");
        let lines = BufReader::new(printed).lines();
        Self { child, lines }
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> Value {
        let line = within("a line of the script", self.lines.next_line()).await;
        let line = line.expect("it can be read");
        let line = line.expect("the script has not ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Waits for its end, which must be a good one.
    pub(crate) async fn ended(mut self) {
        let status = within("the end of the script", self.child.wait()).await;
        assert!(status.expect("it was started").success());
    }
}
