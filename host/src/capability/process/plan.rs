//! What host and supervisor say to each other: the plan goes out, reports come back. All of it goes through a socket and nothing through
//! arguments, which everybody on the machine could read.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// The largest plan.
const BYTES_MAX: u32 = 64 << 20;

/// What is to be run, and how.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The program, from the root on, and its arguments.
    pub words: Vec<String>,
    /// All of its environment but where its directory is.
    pub environment: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: String,
    /// Where its directory is made.
    pub place: PathBuf,
    /// What lies in its directory.
    pub files: BTreeMap<String, String>,
    /// How it is held. Nothing: as the host itself, which is for programs that hold others.
    pub cage: Option<Cage>,
    /// What is left of it when the program ends.
    pub containers: Option<Containers>,
}

/// What a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cage {
    /// User and group that it runs as; nothing: those of the host.
    pub account: Option<(u32, u32)>,
    pub cpu_seconds: u64,
    pub memory_bytes: u64,
    pub file_bytes: u64,
    pub files: u64,
    pub processes: u64,
}

/// Containers of a key, looked after by the program that made them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Containers {
    /// `docker` or `podman`.
    pub program: PathBuf,
    /// The label that they have.
    pub label: String,
}

/// What the supervisor says, a line each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It runs.
    Started,
    /// It does not, and why.
    Failed(String),
    /// It has ended, and all that it had started.
    Ended(Ended),
}

/// How a program ended: with a code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

impl Plan {
    /// As it goes over the socket: its length, then it.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        let length = u32::try_from(text.len()).ok();
        let length = length.filter(|length| *length <= BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("it is too large to be run"))?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(text);
        Ok(bytes)
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length).min(BYTES_MAX);
        let mut text = vec![0; length as usize];
        from.read_exact(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_on_the_other_side() {
        let plan = Plan {
            words: vec!["/bin/true".to_owned()],
            stdin: "ü".to_owned(),
            ..Plan::default()
        };
        let bytes = plan.to_bytes().expect("it is small");
        let read = Plan::read(&mut &*bytes).expect("it is whole");
        assert_eq!((read.words, read.stdin), (plan.words, plan.stdin));
        assert!(Plan::read(&mut &bytes[..10]).is_err());
    }
}
