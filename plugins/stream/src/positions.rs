//! Where a client is in several channels, as one text: the id of an event that it says when it comes again.
//!
//! A channel is known by its epoch, so the text names none, stands for the same in whatever order channels are asked for, and
//! means nothing for a channel that was made anew.

use std::fmt;

/// Longest text that is read.
const BYTES_MAX: usize = 4_096;

/// The last offset of each epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(Vec<(String, i64)>);

impl Positions {
    /// Reads what [`Display`](fmt::Display) has written. What does not read is no position; nothing is guessed.
    pub(crate) fn read(text: &str) -> Self {
        if text.len() > BYTES_MAX {
            return Self::default();
        }
        let one = |part: &str| {
            let (epoch, offset) = part.split_once(':')?;
            let is_epoch =
                !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_epoch.then(|| Some((epoch.to_owned(), offset.parse().ok()?)))?
        };
        Self(text.split(',').filter_map(one).collect())
    }

    /// The last offset of that epoch.
    pub(crate) fn since(&self, epoch: &str) -> Option<i64> {
        let known = self.0.iter().find(|(known, _)| known == epoch)?;
        Some(known.1)
    }

    /// Goes on to that offset.
    pub(crate) fn set(&mut self, epoch: &str, offset: i64) {
        match self.0.iter_mut().find(|(known, _)| known == epoch) {
            Some(known) => known.1 = offset,
            None => self.0.push((epoch.to_owned(), offset)),
        }
    }

    /// Forgets a channel.
    pub(crate) fn forget(&mut self, epoch: &str) {
        self.0.retain(|(known, _)| known != epoch);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (epoch, offset)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{epoch}:{offset}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_in_any_order() {
        let mut positions = Positions::default();
        positions.set("5f0c2b7e", 12);
        positions.set("00aa11bb", 0);
        positions.set("5f0c2b7e", 13);
        assert_eq!(positions.to_string(), "5f0c2b7e:13,00aa11bb:0");
        assert_eq!(Positions::read("5f0c2b7e:13,00aa11bb:0"), positions);
        let turned = Positions::read("00aa11bb:0,5f0c2b7e:13");
        assert_eq!(turned.since("5f0c2b7e"), Some(13));
        positions.forget("5f0c2b7e");
        assert_eq!(positions.since("5f0c2b7e"), None);
    }

    #[test]
    fn what_does_not_read_is_no_position() {
        let long = "a:1,".repeat(BYTES_MAX);
        for text in [
            "",
            "earliest",
            ":1",
            "a:",
            "a:b",
            "a b:1",
            "urn:uuid:1",
            &long,
        ] {
            assert!(Positions::read(text).is_empty(), "{text:.40}");
        }
    }
}
