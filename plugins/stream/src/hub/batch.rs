//! Publications that come together go out together: the protocol lets a frame hold several replies, each in a line of its own. What the hub does
//! for each connection it then does once for all of them, and a client takes them in one message.

use nself_plugin_api::{capability::hub::Policy, prelude::Context, tracing::warn};

use super::{Local, told};
use crate::protocol::Publication;

/// Bytes of a frame with more than one publication in it.
const BYTES_MAX: usize = 16 << 10;

/// The texts of those frames, for who knows the channel by this name.
fn frames(channel: &str, publications: &[Publication]) -> Vec<String> {
    let mut frames = Vec::<String>::new();
    for publication in publications {
        let line = told(publication)(channel);
        let has_room = |frame: &&mut String| frame.len() + 1 + line.len() <= BYTES_MAX;
        if let Some(frame) = frames.last_mut().filter(has_room) {
            frame.push('\n');
            frame.push_str(&line);
        } else {
            frames.push(line.into());
        }
    }
    frames
}

impl Local {
    /// Tells of publications of the log, of which the database lets none have a line break in it.
    pub(super) fn tell_all(&mut self, context: &Context, publications: &[Publication]) {
        // What may be dropped for the sake of a newer one is dropped one by one.
        if publications.len() < 2 || self.policy != Some(Policy::Recover) {
            for publication in publications {
                self.tell(context, publication);
            }
            return;
        }
        for (spelled, topic) in &self.topics {
            for frame in frames(spelled, publications) {
                match context.hub().text(frame) {
                    Ok(frame) => _ = topic.publish(&frame),
                    Err(error) => warn!(%error, "nothing can be published"),
                }
            }
        }
        for publication in publications {
            self.tell_apart(context, publication);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn publication(offset: i64, data_bytes: usize) -> Publication {
        let data = format!("\"{}\"", "x".repeat(data_bytes));
        Publication {
            data: RawValue::from_string(data).expect("JSON"),
            info: None,
            offset,
            tags: None,
            time: 0,
            delta: false,
        }
    }

    #[test]
    fn publications_are_lines_of_one_frame() {
        let both = frames("public:a", &[publication(7, 1), publication(8, 1)]);
        let line = |offset| {
            format!(r#"{{"push":{{"channel":"public:a","pub":{{"data":"x","offset":{offset}}}}}}}"#)
        };
        assert_eq!(both, [format!("{}\n{}", line(7), line(8))]);
    }

    #[test]
    fn what_is_long_is_a_frame_of_its_own_and_all_of_it_goes_out_in_order() {
        let sizes = [6_000, 6_000, 6_000, 40_000, 10, 10];
        let publications: Vec<_> = (1..)
            .zip(sizes)
            .map(|(at, bytes)| publication(at, bytes))
            .collect();
        let frames = frames("public:a", &publications);
        let lines = |frame: &String| frame.lines().count();
        assert_eq!(frames.iter().map(lines).collect::<Vec<_>>(), [2, 1, 1, 2]);
        let said = frames.join("\n");
        let apart: Vec<_> = publications
            .iter()
            .map(|one| told(one)("public:a"))
            .collect();
        assert_eq!(said, apart.join("\n"));
    }
}
