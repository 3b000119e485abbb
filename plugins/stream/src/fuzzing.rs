//! Fuzz targets: what clients say, and deltas that they have to read.

#[macro_use]
#[path = "../../../fuzz/targets.rs"]
mod targets;

use crate::{fossil, positions::Positions, protocol};

targets! {
    fossil: delta,
    graphql: crate::graphql::fuzzing::graphql,
    positions: position,
    stream_commands: commands,
}

/// As many commands as lines, and a client's name for itself that is short.
fn commands(data: &[u8]) {
    let Ok(frame) = str::from_utf8(data) else {
        return;
    };
    let Ok(commands) = protocol::commands(frame) else {
        return;
    };
    let lines = frame.lines().filter(|line| !line.trim().is_empty());
    assert_eq!(commands.len(), lines.count());
    for connect in commands
        .iter()
        .filter_map(|command| command.connect.as_ref())
    {
        assert!(connect.instance().is_none_or(|name| name.len() <= 64));
    }
}

/// The first byte says in which part of the rest the text before ends: whatever both are, the delta makes one of the other.
fn delta(data: &[u8]) {
    let Some((part, rest)) = data.split_first() else {
        return;
    };
    let (old, new) = rest.split_at(rest.len() * usize::from(*part) / 256);
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let delta = fossil::delta(&old, &new);
    assert!(delta.len() <= 4 * new.len() + 32);
    assert_eq!(fossil::apply(&old, &delta), new);
}

/// What was read is written as what reads as the same.
fn position(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let read = Positions::read(text);
        assert_eq!(Positions::read(&read.to_string()), read);
    }
}
