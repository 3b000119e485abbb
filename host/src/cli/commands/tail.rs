//! A stream of server-sent events, printed line by line as they come.

use serde_json::Value;

use super::parser::Call;
use super::request;
use super::show::{at, cell};
use crate::cli::{CliError, Context, Exit, output::clean};
use crate::plugin::manifest::Command;

/// Longest event.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Prints events until the host ends, nobody reads any more, or the user has seen enough.
pub(super) fn follow(context: &Context, call: &Call<'_>) -> Result<(), CliError> {
    let (output, command) = (&context.output, call.command);
    if !output.is_json() && !command.columns.is_empty() {
        let heads: Vec<&str> = command.columns.iter().map(|one| &*one.head).collect();
        if !output.line(&heads.join("  "))? {
            return Ok(());
        }
    }
    let mut events = Events::default();
    request::stream(context, call, |chunk| {
        for data in events.take(chunk)? {
            if !output.line(&line(command, &data, output.is_json()))? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// What is printed of an event.
fn line(command: &Command, data: &str, is_json: bool) -> String {
    match serde_json::from_str::<Value>(data) {
        Ok(value) if is_json => value.to_string(),
        Ok(row) if !command.columns.is_empty() => {
            let cells = command.columns.iter();
            let cells: Vec<String> = cells.map(|column| cell(at(&row, &column.cell))).collect();
            clean(cells.join("  ").trim_end_matches([' ', '-'])).replace('\n', " ")
        }
        _ => clean(data).replace('\n', " "),
    }
}

/// Reads events; of their fields only the data is printed.
#[derive(Default)]
struct Events {
    unread: Vec<u8>,
    data: Vec<String>,
}

impl Events {
    /// The data of the events that are complete with this chunk.
    fn take(&mut self, chunk: &[u8]) -> Result<Vec<String>, CliError> {
        self.unread.extend_from_slice(chunk);
        let mut complete = Vec::new();
        let mut from = 0;
        while let Some(length) = self.unread[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.unread[from..from + length]);
            let line = line.trim_end_matches('\r');
            if line.is_empty() && !self.data.is_empty() {
                complete.push(std::mem::take(&mut self.data).join("\n"));
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data
                    .push(data.strip_prefix(' ').unwrap_or(data).to_owned());
            }
            from += length + 1;
        }
        self.unread.drain(..from);
        let held = self.unread.len() + self.data.iter().map(String::len).sum::<usize>();
        if held > EVENT_BYTES_MAX {
            let message = "the host sends an event that is too long";
            return Err(CliError::new("HOST_LOST", Exit::Unavailable, message));
        }
        Ok(complete)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = b": hello\n\nevent: x\ndata: {\"a\":1}\n\ndata: one\r\ndata:two\r\n\r\ndata: unfinished";
        for size in [1, 2, 7, text.len()] {
            let mut events = Events::default();
            let chunks = text.chunks(size);
            let seen: Vec<String> = chunks
                .flat_map(|chunk| events.take(chunk).expect("they are short"))
                .collect();
            assert_eq!(seen, [r#"{"a":1}"#, "one\ntwo"], "{size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut events = Events::default();
        let refused = events.take(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert_eq!(refused.expect_err("it is too long").code, "HOST_LOST");
    }

    #[test]
    fn a_row_is_its_columns_and_control_characters_are_shown() {
        let command: Command = serde_json::from_value(json!({
            "name": "tail", "method": "GET", "path": "/x", "is_tail": true,
            "columns": [{"head": "ID", "cell": "id"}, {"head": "STATE", "cell": "state"}, {"head": "CODE", "cell": "code"}],
        }))
        .expect("a command");
        let row = r#"{"id": 7, "state": "do\u001bne"}"#;
        assert_eq!(line(&command, row, false), "7  do\\u{1b}ne");
        assert_eq!(line(&command, r#"{"id":7}"#, true), r#"{"id":7}"#);
        assert_eq!(line(&command, "no JSON", false), "no JSON");
    }
}
