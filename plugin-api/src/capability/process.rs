//! Programs that the operator lets the plugin run.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use nself_plugin_api::{Context, Result, capability::process::{Program, What}};
//! # async fn sizes(context: Context) -> Result<String> {
//! let mut program = Program::of(What::Shell { command: "du -s \"$1\"".to_owned() });
//! program.arguments.push("/srv/photos".to_owned());
//! program.time_limit = Some(Duration::from_secs(10));
//! let ended = context.process().start(&program).await?.end().await?;
//! # Ok(ended.stdout)
//! # }
//! ```

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use super::{granted, millis};
use crate::{
    abi::capability::process as raw,
    cx::Handles,
    error::{Error, Result},
};

/// Runs programs. Nothing but what the operator lists as `plugins.<id>.run` is run.
pub struct Processes<'a>(pub(crate) &'a Arc<Handles>);

/// What is run.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// `/bin/sh -c command`; the program's arguments are `$1` and so on.
    Shell {
        /// The command.
        command: String,
    },
    /// A script, in a file of its own.
    Script {
        /// `js` or `python`.
        language: String,
        /// Its text.
        code: String,
    },
    /// A program with nothing between.
    Program {
        /// Where it is, from the root on.
        path: String,
    },
    /// A container, by docker or podman.
    Container(Container),
    /// Removes the containers that were run under a key.
    Removal {
        /// The key.
        key: String,
    },
}

impl What {
    /// The same in the words of `plugins.<id>.run`.
    pub fn word(&self) -> String {
        match self {
            Self::Shell { .. } => "shell".to_owned(),
            Self::Script { language, .. } => format!("script:{language}"),
            Self::Program { path } => format!("program:{path}"),
            Self::Container(container) => format!("container:{}", container.image),
            Self::Removal { .. } => "container".to_owned(),
        }
    }
}

/// A container.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Container {
    /// Its image.
    pub image: String,
    /// Run by a shell in it, instead of what the image runs; the program's arguments are `$1` and so on.
    pub command: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Marks it: what was left under the same key is removed before it starts.
    pub key: String,
    /// Ports of this machine, on the loopback address alone, and which of the container's they lead to.
    pub ports: BTreeMap<u16, u16>,
    /// Volumes by name, or paths that the operator lists, and where the container sees them.
    pub volumes: BTreeMap<String, String>,
    /// When the image is fetched.
    pub pull: Pull,
    /// Whether it stays when it has ended.
    pub is_kept: bool,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// When it is not there.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

/// Something to be run, and what it gets.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// What is run.
    #[serde(rename = "run")]
    pub what: What,
    /// Its arguments. Everybody on the machine can read them: secrets belong into `environment` or `stdin`.
    pub arguments: Vec<String>,
    /// Its environment, beside `PATH`, and `HOME` and `TMPDIR`, which are its directory.
    pub environment: BTreeMap<String, String>,
    /// What it reads from its standard input.
    pub stdin: Option<String>,
    /// How long it may take, when that is less than the operator lets everybody.
    #[serde(rename = "time_limit_ms", serialize_with = "as_millis")]
    pub time_limit: Option<Duration>,
}

#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
fn as_millis<S: Serializer>(limit: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    limit.map(millis).serialize(to)
}

impl Program {
    /// Without arguments and all the rest.
    pub fn of(what: What) -> Self {
        Self {
            what,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            stdin: None,
            time_limit: None,
        }
    }
}

/// It may hold secrets.
impl fmt::Debug for Program {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Program").finish_non_exhaustive()
    }
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ended {
    /// What it ended with; nothing when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote. What is not UTF-8 is replaced.
    pub stdout: String,
    /// What it complained of, likewise.
    pub stderr: String,
    /// Whether it wrote more than the operator allows: it was ended then, and the beginning is here.
    pub is_truncated: bool,
}

impl Processes<'_> {
    /// Whether the operator lets the plugin run something, in the words of [`What::word`].
    ///
    /// # Errors
    ///
    /// `PROCESS_DENIED` with the setting to be changed.
    pub async fn check(&self, what: &str) -> Result<()> {
        let process = granted!(self, process, "nself.process/1")?;
        Ok(process.check(what.into()).await?)
    }

    /// Starts something.
    ///
    /// # Errors
    ///
    /// `PROCESS_DENIED` when the operator's configuration does not list it, `PROCESS_MISSING` when it is not on the host's machine,
    /// `PROCESS_INVALID` when it cannot be as it is wanted, `PROCESS_FAILED` when the machine cannot start it.
    pub async fn start(&self, program: &Program) -> Result<Running> {
        let process = granted!(self, process, "nself.process/1")?;
        let wanted = serde_json::to_vec(program).map_err(Error::internal)?;
        Ok(Running(process.start(wanted.into()).await?))
    }
}

/// Something that runs. Dropped, it ends, and with it whatever it has started.
pub struct Running(raw::Running);

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// `PROCESS_TIMEOUT` when it took longer than it may: it has been ended then. `PROCESS_FAILED` when nobody can say how it ended.
    pub async fn end(self) -> Result<Ended> {
        let ended = self.0.end().await?;
        serde_json::from_slice(ended.as_slice()).map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_crosses_in_the_words_of_the_boundary() {
        let mut program = Program::of(What::Script {
            language: "js".to_owned(),
            code: "1".to_owned(),
        });
        program.time_limit = Some(Duration::from_secs(1));
        assert_eq!(
            serde_json::to_value(&program).expect("it is JSON"),
            serde_json::json!({
                "run": {"script": {"language": "js", "code": "1"}},
                "arguments": [], "environment": {}, "stdin": null, "time_limit_ms": 1_000,
            })
        );
        assert_eq!(program.what.word(), "script:js");
        assert_eq!(format!("{program:?}"), "Program { .. }");
    }
}
