//! A mistake of the operator's that stays until it is mended: told where the plugin's state is shown, and in nobody's way.

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// What was wrong with a file, a setting or the like when it was last taken in. A task that answers with [`Mistake::told`] shows it
/// in `nself status` and `nself doctor` for as long as it is there.
///
/// ```
/// use nself_plugin_api::{mistake::Mistake, prelude::{Error, Result}};
///
/// let mistake = Mistake::default();
/// let refused: Result<()> = Err(Error::invalid("SCHEDULE_FILE", "teas.yaml:3: `zoen` is not known"));
/// mistake.note(&refused);
/// assert_eq!(mistake.told().unwrap_err().code(), "SCHEDULE_FILE");
/// mistake.note(&Ok(()));
/// assert!(mistake.told().is_ok());
/// ```
#[derive(Debug, Default)]
pub struct Mistake(Mutex<Option<Error>>);

impl Mistake {
    /// Remembers how a try went: one that worked clears it. Trouble of another kind (a status of 500 or more) tells nothing about
    /// what was tried, so what was known stays.
    pub fn note<T>(&self, tried: &Result<T>) {
        let known = match tried {
            Ok(_) => None,
            Err(error) if error.status() < 500 => Some(error.clone()),
            Err(_) => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Fails while there is one.
    ///
    /// # Errors
    ///
    /// The one that was noted.
    pub fn told(&self) -> Result<()> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_neither_makes_nor_mends_a_mistake() {
        let away: Result<()> = Err(Error::new(503, "DATABASE_UNAVAILABLE", "it is away"));
        let mistake = Mistake::default();
        mistake.note(&away);
        assert!(mistake.told().is_ok());
        mistake.note::<()>(&Err(Error::invalid("FILE", "line 1")));
        mistake.note(&away);
        let told = mistake.told().expect_err("it is noted");
        assert_eq!(told.code(), "FILE");
    }
}
