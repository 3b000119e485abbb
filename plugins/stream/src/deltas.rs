//! Publications for who takes deltas: each as what has changed since the one before, where that is shorter and the client has the
//! one before. The data is a string then, with the text of the data in it or with the delta.

use serde_json::value::{RawValue, to_raw_value};

use crate::{fossil, protocol::Publication};

/// The kind of deltas that there is, as clients ask for it.
pub(crate) const FOSSIL: &str = "fossil";

/// A publication in both wordings.
pub(crate) struct Worded {
    pub whole: Publication,
    /// For who has the one before.
    pub delta: Option<Publication>,
}

impl Worded {
    pub(crate) fn new(publication: &Publication, before: Option<&RawValue>) -> Self {
        let delta = before.and_then(|before| {
            let delta = fossil::delta(before.get(), publication.data.get());
            let is_shorter = delta.len() < publication.data.get().len();
            is_shorter.then(|| with(publication, &delta, true))
        });
        Self {
            whole: whole(publication),
            delta,
        }
    }
}

/// The publication for who has none before it.
pub(crate) fn whole(publication: &Publication) -> Publication {
    with(publication, publication.data.get(), false)
}

fn with(publication: &Publication, text: &str, delta: bool) -> Publication {
    Publication {
        // A string is always written.
        data: to_raw_value(text).unwrap_or_default(),
        delta,
        ..publication.clone()
    }
}
