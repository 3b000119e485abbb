//! What is wrong with a schedule's text, and where: whoever typed it must find the place at once.

use std::fmt;

/// A schedule that cannot be: which part of it, where in its text, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// The part that is wrong: `minute`, `BYMONTH`, `time zone`.
    pub field: &'static str,
    /// Where it stands in the text, counted in characters from 1; none where the whole is wrong.
    pub position: Option<usize>,
    /// What is wrong, and what to write instead where that can be said.
    pub problem: String,
}

impl SpecError {
    /// Something at a place in the text.
    pub(crate) fn at(field: &'static str, position: usize, problem: impl Into<String>) -> Self {
        Self {
            field,
            position: Some(position),
            problem: problem.into(),
        }
    }

    /// Something that stands at no single place.
    pub(crate) fn whole(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            position: None,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(
                to,
                "{} (character {position}): {}",
                self.field, self.problem
            ),
            None => write!(to, "{}: {}", self.field, self.problem),
        }
    }
}

impl std::error::Error for SpecError {}
