//! `nself plugin dev`: builds a plugin whenever something of it changes, and exchanges it in the host that runs.
//!
//! What runs is exchanged as `nself plugin upgrade` does it, so no request fails for it; what does not build, or is refused, leaves
//! the version before at work. Meanwhile the plugin's log is shown as `nself logs --follow` does.

mod library;
mod offer;
mod sources;

use std::{path::PathBuf, thread, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use self::{library::Library, sources::Sources};
use super::{
    super::{
        CliError, Context,
        logs::{LogsArgs, Tail},
    },
    names,
    signing::admissible,
};

/// How often sources, log and host are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `nself plugin dev`
#[derive(Debug, Clone, Args)]
pub struct Dev {
    /// The plugin's crate
    #[arg(value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Build it as it is published, with optimisation
    #[arg(long)]
    pub release: bool,
}

/// What became of a change.
#[derive(Debug)]
enum Outcome {
    /// It runs now.
    Runs(Value),
    /// It is what runs already.
    Same,
    /// It does not build; the compiler has said why.
    NotBuilt,
    /// It is not taken.
    Refused(CliError),
}

pub(super) fn run(context: &Context, args: &Dev) -> Result<(), CliError> {
    // Outside of every project there is no host to give it to.
    context.config()?;
    let mut session = Session {
        context,
        library: Library::open(&args.directory, args.release)?,
        log: None,
    };
    loop {
        // Before the build: what is saved while it runs is built next.
        let seen = session.library.sources();
        let outcome = session.build_and_offer()?;
        if !tell(context, &outcome)? || !session.wait(&seen, &outcome)? {
            return Ok(());
        }
    }
}

/// Whether somebody still reads.
fn tell(context: &Context, outcome: &Outcome) -> Result<bool, CliError> {
    let output = &context.output;
    match outcome {
        _ if output.is_json() => return output.line(&outcome.json().to_string()),
        Outcome::Runs(done) => return output.line(&running(done)),
        Outcome::Same => output.note("nothing has changed in what was built"),
        Outcome::NotBuilt => output.note("it does not build; what ran before runs on"),
        Outcome::Refused(refusal) => {
            output.error(refusal);
        }
    }
    Ok(true)
}

fn running(done: &Value) -> String {
    let word = |key: &str| done[key].as_str().unwrap_or_default();
    let granted = match &done["granted"] {
        Value::Null => String::new(),
        granted => format!("; granted: {}", names(granted)),
    };
    format!("{} {} runs{granted}", word("id"), word("version"))
}

impl Outcome {
    fn json(&self) -> Value {
        match self {
            Self::Runs(done) => json!({"outcome": "runs", "plugin": done}),
            Self::Same => json!({"outcome": "same"}),
            Self::NotBuilt => json!({"outcome": "not_built"}),
            Self::Refused(error) => json!({"outcome": "refused", "error": error}),
        }
    }
}

struct Session<'a> {
    context: &'a Context,
    library: Library,
    /// None as long as the plugin's id is not known, and where the host writes to a terminal, which shows it already.
    log: Option<Tail<'a>>,
}

impl Session<'_> {
    fn build_and_offer(&mut self) -> Result<Outcome, CliError> {
        let Some(file) = self.library.build()? else {
            return Ok(Outcome::NotBuilt);
        };
        let offered = admissible(self.context, &file).and_then(|checked| {
            self.open_log(&checked.manifest.id)?;
            offer::offer(self.context, &checked)
        });
        Ok(match offered {
            Ok(Some(done)) => Outcome::Runs(done),
            Ok(None) => Outcome::Same,
            Err(refusal) => Outcome::Refused(refusal),
        })
    }

    /// From here on, so before it starts.
    fn open_log(&mut self, id: &str) -> Result<(), CliError> {
        if self.log.is_some() {
            return Ok(());
        }
        let args = LogsArgs {
            plugin: Some(id.to_owned()),
            follow: true,
            lines: 0,
            level: None,
        };
        match Tail::open(self.context, &args) {
            Ok(mut log) => {
                log.print_last()?;
                self.log = Some(log);
            }
            Err(error) if error.code == "LOG_ABSENT" => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Shows the log until there is something to be built or offered again; whether somebody still reads.
    fn wait(&mut self, seen: &Sources, outcome: &Outcome) -> Result<bool, CliError> {
        let without_host =
            matches!(outcome, Outcome::Refused(error) if error.code == "HOST_NOT_RUNNING");
        loop {
            thread::sleep(LOOK_EVERY);
            if let Some(log) = &mut self.log
                && !log.print_new()?
            {
                return Ok(false);
            }
            if without_host && offer::is_host_there(self.context) {
                return Ok(true);
            }
            let now = self.library.sources();
            if now != *seen && self.rests(&now) {
                return Ok(true);
            }
        }
    }

    /// Whether nobody is writing any more: an editor saves several files.
    fn rests(&self, now: &Sources) -> bool {
        thread::sleep(LOOK_EVERY / 2);
        self.library.sources() == *now
    }
}
