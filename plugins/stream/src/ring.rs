//! The last publications of a channel that somebody here is subscribed to: who comes back after a moment is given what it missed without
//! a question to the database. What is not here is asked for there.

use std::collections::VecDeque;

use crate::protocol::Publication;

/// Publications of a channel.
const PUBLICATIONS_MAX: usize = 128;
/// Bytes of a channel.
const BYTES_MAX: usize = 256 << 10;

/// Publications without a gap between them.
#[derive(Default)]
pub(crate) struct Ring {
    publications: VecDeque<Publication>,
    bytes: usize,
}

impl Ring {
    /// Bytes of what is in it, more or less.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next one in, of which the log keeps so many.
    pub(crate) fn push(&mut self, publication: &Publication, history_size: usize) {
        let next = self.publications.back().map(|last| last.offset + 1);
        if next.is_some_and(|next| next != publication.offset) {
            self.clear();
        }
        self.bytes += bytes(publication);
        self.publications.push_back(publication.clone());
        let publications_max = history_size.min(PUBLICATIONS_MAX);
        while self.publications.len() > publications_max || self.bytes > BYTES_MAX {
            let Some(oldest) = self.publications.pop_front() else {
                break;
            };
            self.bytes -= bytes(&oldest);
        }
    }

    /// Gives all of it up.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What came behind `since`, if all of it is here, is no more than `bytes_max` and was published after `oldest_ms`.
    pub(crate) fn behind(
        &self,
        since: i64,
        oldest_ms: i64,
        bytes_max: usize,
    ) -> Option<Vec<Publication>> {
        let is_missed = |publication: &&Publication| publication.offset > since;
        let missed: Vec<_> = self.publications.iter().filter(is_missed).collect();
        let first = missed.first()?;
        let is_good = first.offset == since + 1
            && first.time >= oldest_ms
            && missed
                .iter()
                .map(|publication| bytes(publication))
                .sum::<usize>()
                <= bytes_max;
        is_good.then(|| missed.into_iter().cloned().collect())
    }
}

fn bytes(publication: &Publication) -> usize {
    let Publication {
        data, info, tags, ..
    } = publication;
    let more = [info, tags].into_iter().flatten();
    size_of::<Publication>() + data.get().len() + more.map(|json| json.get().len()).sum::<usize>()
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
            time: offset * 1_000,
            delta: false,
        }
    }

    fn filled(offsets: std::ops::RangeInclusive<i64>) -> Ring {
        let mut ring = Ring::default();
        for offset in offsets {
            ring.push(&publication(offset, 10), 5);
        }
        ring
    }

    #[track_caller]
    fn check(ring: &Ring, since: i64, expected: Option<&[i64]>) {
        let behind = ring.behind(since, 0, BYTES_MAX);
        let offsets = behind.map(|behind| behind.iter().map(|one| one.offset).collect::<Vec<_>>());
        assert_eq!(offsets.as_deref(), expected, "{since}");
    }

    #[test]
    fn what_was_missed_is_there_whole_or_not_at_all() {
        let ring = filled(1..=9);
        check(&ring, 4, Some(&[5, 6, 7, 8, 9]));
        check(&ring, 8, Some(&[9]));
        check(&ring, 3, None);
        check(&ring, 9, None);
        check(&ring, 12, None);
        check(&ring, -1, None);
    }

    #[test]
    fn what_is_too_old_or_too_much_is_for_the_log() {
        let ring = filled(1..=9);
        assert!(ring.behind(6, 7_000, BYTES_MAX).is_some());
        assert!(ring.behind(5, 7_000, BYTES_MAX).is_none());
        assert!(ring.behind(4, 0, ring.bytes() - 1).is_none());
    }

    #[test]
    fn behind_a_gap_it_begins_anew_and_large_ones_push_the_others_out() {
        let mut ring = filled(1..=4);
        ring.push(&publication(6, 10), 5);
        check(&ring, 4, None);
        check(&ring, 5, Some(&[6]));
        ring.push(&publication(7, BYTES_MAX - 1_000), 5);
        ring.push(&publication(8, 2_000), 5);
        check(&ring, 6, None);
        check(&ring, 7, Some(&[8]));
        ring.push(&publication(9, BYTES_MAX), 5);
        assert_eq!(ring.bytes(), 0);
    }
}
