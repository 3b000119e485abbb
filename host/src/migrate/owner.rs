//! Whose steps these are, and whether they are fit to be run.

use postgres_protocol::escape::escape_identifier;

use super::embedded;
use super::error::MigrateError;
use super::plan::Direction;
use super::script::Script;
use crate::plugin::manifest::Migration;

/// The numbered steps of one owner.
#[derive(Debug, Clone)]
pub struct Owner {
    /// `nself` for the host, `db` for the shared model, `project` for the project's own tables, else a plugin's id.
    pub name: String,
    /// The schema that unqualified names of the steps mean; made when it is missing.
    pub schema: String,
    /// The steps, ascending from 1.
    pub steps: Vec<Migration>,
}

impl Owner {
    /// The host's own schema `nself`: always first, everything else stands on it.
    pub fn host() -> Self {
        Self {
            name: "nself".to_owned(),
            schema: "nself".to_owned(),
            steps: embedded::host(),
        }
    }

    /// The product's shared model in `public`.
    pub fn shared() -> Self {
        Self {
            name: "db".to_owned(),
            schema: "public".to_owned(),
            steps: embedded::shared(),
        }
    }

    /// The project's own tables, in `public` beside the shared model: `db/migrations` of the project's directory.
    pub fn project(steps: Vec<Migration>) -> Self {
        Self {
            name: "project".to_owned(),
            schema: "public".to_owned(),
            steps,
        }
    }

    /// A plugin: its steps see its own schema only, so an unqualified name never means a shared table by accident.
    pub fn plugin(id: &str, steps: Vec<Migration>) -> Self {
        Self {
            name: id.to_owned(),
            schema: id.to_owned(),
            steps,
        }
    }

    /// Checks numbers, names and texts of all steps without a database.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Invalid`] names the file and says what to do.
    pub fn validate(&self) -> Result<(), MigrateError> {
        for (index, step) in self.steps.iter().enumerate() {
            let wanted = u32::try_from(index + 1).expect("nobody writes four billion steps");
            if step.number != wanted {
                let problem = format!(
                    "its number must be {wanted:04}: steps are numbered from 0001 without a gap"
                );
                return Err(MigrateError::invalid(
                    &self.name,
                    file_name(step, Direction::Up),
                    problem,
                ));
            }
            if !is_step_name(&step.name) {
                let problem = "its name must be lower-case letters, digits and `_`";
                return Err(MigrateError::invalid(
                    &self.name,
                    file_name(step, Direction::Up),
                    problem,
                ));
            }
            for direction in [Direction::Up, Direction::Down] {
                self.script(step, direction)?;
            }
        }
        Ok(())
    }

    /// One direction of a step, ready to run.
    pub(super) fn script<'a>(
        &self,
        step: &'a Migration,
        direction: Direction,
    ) -> Result<Script<'a>, MigrateError> {
        let text = match direction {
            Direction::Up => &step.up,
            Direction::Down => &step.down,
        };
        Script::parse(&self.name, &file_name(step, direction), text)
    }

    pub(super) fn quoted_schema(&self) -> String {
        escape_identifier(&self.schema)
    }
}

/// Whether a step may be called so: the name is also a file name on every system.
pub(super) fn is_step_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `0001_name.up.sql`.
pub(super) fn file_name(step: &Migration, direction: Direction) -> String {
    format!(
        "{:04}_{}.{}.sql",
        step.number,
        step.name,
        direction.as_str()
    )
}
