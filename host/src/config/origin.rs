//! Where a value came from.

use std::collections::BTreeMap;
use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// A line of a file in the project's directory; `.env` files also name the variable.
    File {
        /// Its name, relative to the project's directory.
        name: &'static str,
        /// Counted from 1.
        line: usize,
        /// The variable, in `.env` files.
        variable: Option<String>,
    },
    /// The process environment.
    Variable {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File {
                name,
                line,
                variable: None,
            } => write!(formatter, "{name}:{line}"),
            Self::File {
                name,
                line,
                variable: Some(variable),
            } => write!(formatter, "{name}:{line} ({variable})"),
            Self::Variable { name } => write!(formatter, "environment ({name})"),
        }
    }
}

/// The origin of every value that somebody stated.
#[derive(Debug, Clone, Default)]
pub struct Provenance(BTreeMap<Vec<String>, Origin>);

impl Provenance {
    /// Where the value at this path came from. A list or table that was stated as a whole counts for what is inside.
    pub fn origin(&self, path: &[&str]) -> Origin {
        let path: Vec<String> = path.iter().map(|segment| (*segment).to_owned()).collect();
        let mut longest_first = (1..=path.len()).rev();
        longest_first
            .find_map(|length| self.0.get(&path[..length]))
            .cloned()
            .unwrap_or_default()
    }

    /// Every stated path with its origin.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Origin)> {
        self.0.iter().map(|(path, origin)| (path.join("."), origin))
    }
}

impl FromIterator<(Vec<String>, Origin)> for Provenance {
    fn from_iter<I: IntoIterator<Item = (Vec<String>, Origin)>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}

impl Origin {
    /// Whether the value was text in a variable, and so has the type that its key wants.
    pub fn is_variable(&self) -> bool {
        matches!(
            self,
            Self::Variable { .. }
                | Self::File {
                    variable: Some(_),
                    ..
                }
        )
    }
}
