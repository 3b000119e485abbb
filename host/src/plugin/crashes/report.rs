//! What the handler of a crash has written.

use std::fmt;

use jiff::Timestamp;

use crate::loader::{
    Sha256,
    crash::{END, FORM},
    one_line,
};

/// A crash of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The plugin that it came from, if it came from one.
    pub culprit: Option<Culprit>,
    /// The signal; none when a plugin has ended the process by `exit`.
    pub signal: Option<i32>,
    /// When.
    pub at: Timestamp,
}

/// Who it was, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// The plugin.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its content.
    pub sha256: Sha256,
    /// How it was found: `address`, `call` or `thread`.
    pub how: String,
    /// The faulting instruction, from the start of its file in memory: what addr2line(1) takes.
    pub offset: Option<u64>,
    /// What it was called for.
    pub work: Option<String>,
}

/// What was written is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it {0}")]
pub struct ReportError(&'static str);

impl Report {
    /// Reads what the handler wrote; nothing when it has written nothing.
    ///
    /// # Errors
    ///
    /// When it is not whole, or something else.
    pub fn parse(text: &str) -> Result<Option<Self>, ReportError> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut lines = text.lines();
        if lines.next() != Some(FORM) {
            return Err(ReportError("does not begin as a report does"));
        }
        if lines.next_back() != Some(END) {
            return Err(ReportError("breaks off"));
        }
        let field = |name: &str| {
            let mut lines = lines.clone();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let at = field("at").and_then(|at| Timestamp::from_second(at.parse().ok()?).ok());
        let signal = field("signal").and_then(|signal| signal.parse::<i32>().ok());
        let (Some(at), Some(signal)) = (at, signal) else {
            return Err(ReportError("does not say when it was, or what"));
        };
        let culprit = field("plugin").map(|id| {
            Some(Culprit {
                id: one_line(id),
                version: one_line(field("version")?),
                sha256: field("sha256")?.parse().ok()?,
                how: one_line(field("how")?),
                offset: match field("offset") {
                    Some(offset) => Some(u64::from_str_radix(offset, 16).ok()?),
                    None => None,
                },
                work: field("work").map(one_line),
            })
        });
        let culprit = match culprit {
            Some(None) => return Err(ReportError("does not say which plugin it was")),
            Some(culprit) => culprit,
            None => None,
        };
        Ok(Some(Self {
            culprit,
            signal: (signal != 0).then_some(signal),
            at,
        }))
    }

    /// The signal by its name.
    pub fn signal_name(&self) -> String {
        match self.signal {
            Some(libc::SIGSEGV) => "SIGSEGV".to_owned(),
            Some(libc::SIGBUS) => "SIGBUS".to_owned(),
            Some(libc::SIGILL) => "SIGILL".to_owned(),
            Some(libc::SIGFPE) => "SIGFPE".to_owned(),
            Some(libc::SIGABRT) => "SIGABRT".to_owned(),
            Some(other) => format!("signal {other}"),
            None => "exit".to_owned(),
        }
    }
}

/// What, where, and when, in a few words.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.signal_name())?;
        if let Some(culprit) = &self.culprit {
            if let Some(offset) = culprit.offset {
                write!(f, " at {offset:#x}")?;
            }
            match (&culprit.work, &*culprit.how) {
                (Some(work), _) => write!(f, " in {work}")?,
                (None, "thread") => f.write_str(" in a thread of its own")?,
                (None, _) => {}
            }
        }
        write!(f, " ({})", self.at)
    }
}
