//! `nself doctor`: what is wrong here, why it matters, and what to do.

mod certificate;
mod checks;
mod database;

use std::fmt::Write as _;

use serde::Serialize;

use self::checks::Examined;
use super::{CliError, Context, Exit, Table};

/// Look for what keeps the host from running, or from running well: with or without one. Exit code 4 when something does
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DoctorArgs {}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It runs, and will not for ever, or not well.
    Warning,
    /// It does not run, or must not.
    Failed,
    /// It could not be looked at: something before it has failed.
    Skipped,
}

/// One of the things that are looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// What it is good for.
    why: &'static str,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// What one look gives: how it is, what was found, what to do.
struct Look {
    state: State,
    found: String,
    fix: Option<String>,
}

impl Look {
    fn ok(found: impl Into<String>) -> Self {
        Self {
            state: State::Ok,
            found: found.into(),
            fix: None,
        }
    }

    fn warning(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    fn failed(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Failed,
            ..Self::warning(found, fix)
        }
    }

    fn skipped(found: &str) -> Self {
        Self {
            state: State::Skipped,
            ..Self::ok(found)
        }
    }

    /// What the program says of it otherwise.
    fn of(error: &CliError) -> Self {
        let mut found = error.message.clone();
        for cause in &error.causes {
            // Some errors say their cause themselves.
            if !found.contains(&**cause) {
                found = format!("{found}: {cause}");
            }
        }
        let page = || format!("see docs/errors/{}.md", error.code);
        Self::failed(found, error.help.clone().unwrap_or_else(page))
    }
}

pub(super) fn run(context: &Context, _: &DoctorArgs) -> Result<(), CliError> {
    let findings = findings(context)?;
    context
        .output
        .answer(&findings, || text(context, &findings))?;
    let failed = findings
        .iter()
        .filter(|one| one.state == State::Failed)
        .count();
    if failed == 0 {
        return Ok(());
    }
    let message = match failed {
        1 => "one thing is wrong".to_owned(),
        several => format!("{several} things are wrong"),
    };
    Err(CliError::new("UNHEALTHY", Exit::Unhealthy, message)
        .with_help("mend the first one, then run `nself doctor` again: others may follow from it"))
}

fn findings(context: &Context) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    let configuration = context.config().map(|(config, _)| config);
    findings.push(Finding::of(
        "configuration",
        "the host does not start with one that does not read or makes no sense",
        match &configuration {
            Ok(config) => Look::ok(format!("of {}", config.directory.display())),
            Err(error) => Look::of(error),
        },
    ));
    let examined = match configuration {
        Ok(config) => Some(Examined::new(context, config)?),
        Err(_) => None,
    };
    for (check, why, look) in checks::ALL {
        let look = match &examined {
            Some(examined) => look(examined),
            None => Look::skipped("not looked at: the configuration does not read"),
        };
        findings.push(Finding::of(check, why, look));
    }
    Ok(findings)
}

impl Finding {
    fn of(check: &'static str, why: &'static str, look: Look) -> Self {
        Self {
            check,
            state: look.state,
            found: look.found,
            why,
            fix: look.fix,
        }
    }
}

fn text(context: &Context, findings: &[Finding]) -> String {
    let mut table = Table::new(&["CHECK", "STATE", "FOUND"]);
    for one in findings {
        let state = match one.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "failed",
            State::Skipped => "skipped",
        };
        table.row([one.check.to_owned(), state.to_owned(), one.found.clone()]);
    }
    let mut text = context.output.table(&table);
    for one in findings {
        if let Some(fix) = &one.fix {
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "\n{}: {}\n  why: {}\n  fix: {fix}\n",
                one.check, one.found, one.why
            );
        }
    }
    text
}
