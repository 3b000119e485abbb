//! `cargo xtask squawk`: a linter that others wrote looks at every step forward. What takes a lock for long, breaks a running
//! version or drops data is refused, unless a line above the statement says that it is meant:
//!
//! ```sql
//! -- Nobody reads it since 1.4.
//! -- squawk-ignore ban-drop-column
//! ALTER TABLE public.posts DROP COLUMN mood;
//! ```
//!
//! Steps back are not looked at: dropping is what they are for, and `nself db migrate down` asks first.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Failure, house::House, program};

/// The pinned package and the rules that do not fit this house, each with its reason.
const SOURCES: &str = "xtask/squawk";

/// Lints all steps forward of `db/` and of the plugins.
///
/// # Errors
///
/// [`Failure`] when it has complaints, or cannot be installed.
pub(crate) fn run(house: &House) -> Result<(), Failure> {
    let steps = steps(house)?;
    let mut squawk = squawk(house)?;
    squawk.args(&steps);
    if program::succeeds(&mut squawk) {
        println!("squawk: no complaint about {} steps", steps.len());
        return Ok(());
    }
    Err(Failure::Step {
        step: "steps of migrations",
        command: "cargo xtask squawk".to_owned(),
    })
}

fn steps(house: &House) -> Result<Vec<String>, Failure> {
    let files = house.files()?.into_iter();
    let is_step = |file: &String| {
        (file.starts_with("db/") || file.starts_with("plugins/")) && file.ends_with(".up.sql")
    };
    Ok(files.filter(is_step).collect())
}

/// The program with its configuration, in the root; installed below `target/` when its lock file is another one.
fn squawk(house: &House) -> Result<Command, Failure> {
    let folder = house.debug_dir().join("squawk");
    install(house, &folder).map_err(|problem| Failure::Program {
        program: "npm ci".to_owned(),
        problem: format!("{problem}; the checks need it: apt-get install nodejs npm"),
    })?;
    let program = folder.join("node_modules/.bin/squawk");
    let mut command = house.command(&program.to_string_lossy());
    command.arg("--config").arg(config(house));
    Ok(command)
}

fn config(house: &House) -> PathBuf {
    house.path(SOURCES).join("squawk.toml")
}

fn install(house: &House, folder: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    fs::create_dir_all(folder).map_err(text)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(house.path(SOURCES).join(file), folder.join(file)).map_err(text)?;
    }
    let lock = fs::read(folder.join("package-lock.json")).map_err(text)?;
    let stamp = folder.join("installed");
    if fs::read(&stamp).ok().as_ref() == Some(&lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder);
    program::output(&mut npm).map_err(|failure| failure.to_string())?;
    fs::write(stamp, lock).map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What squawk says about a step.
    #[track_caller]
    fn check(step: &str, complaint: Option<&str>) {
        let house = House::here();
        let mut squawk = squawk(&house).expect("squawk is there");
        let file = house
            .debug_dir()
            .join("squawk")
            .join(format!("{}.up.sql", complaint.unwrap_or("no-complaint")));
        fs::write(&file, step).expect("the target folder can be written");
        let output = squawk.arg(&file).output().expect("squawk runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), complaint.is_none(), "{said}");
        assert!(
            complaint.is_none_or(|complaint| said.contains(complaint)),
            "{said}"
        );
    }

    #[test]
    fn a_step_that_drops_data_says_that_it_is_meant() {
        check(
            "ALTER TABLE public.posts DROP COLUMN mood;",
            Some("ban-drop-column"),
        );
        check("DROP TABLE public.moods;", Some("ban-drop-table"));
        check(
            "-- squawk-ignore ban-drop-column\nALTER TABLE public.posts DROP COLUMN mood;",
            None,
        );
    }

    #[test]
    fn every_step_forward_is_looked_at() {
        let steps = steps(&House::here()).expect("git lists them");
        assert!(steps.contains(&"db/migrations/0001_people.up.sql".to_owned()));
        assert!(steps.contains(&"plugins/auth/migrations/0001_keys.up.sql".to_owned()));
        assert!(!steps.iter().any(|step| step.ends_with(".down.sql")));
    }
}
