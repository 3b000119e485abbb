//! Containers, by the command line of docker or podman. It runs as the host does, with words that are made here: what it holds is held
//! by it. A container has a label, so that what a host that died has left can be found and ended.

use std::{collections::BTreeMap, env, path::PathBuf};

use serde::Deserialize;

use super::{
    ProcessError, Settings,
    allowed::Allowed,
    plan::{Containers, Plan},
    wanted::{Wanted, executable},
};

const PROGRAMS: [&str; 2] = ["docker", "podman"];
/// What the program sees of the host's own environment: where its configuration and its daemon are.
const PASSED_ON: [&str; 7] = [
    "HOME",
    "USER",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "CONTAINER_HOST",
];
/// The file with the container's environment. On the command line everybody could read it, and in the program's own environment it
/// would be the program's.
const ENVIRONMENT: &str = "environment";

/// As it crosses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    pub(super) image: String,
    #[serde(default)]
    command: Option<String>,
    #[serde(default)]
    name: Option<String>,
    key: String,
    #[serde(default)]
    ports: BTreeMap<u16, u16>,
    #[serde(default)]
    volumes: BTreeMap<String, String>,
    #[serde(default)]
    pull: Pull,
    #[serde(default)]
    is_kept: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pull {
    #[default]
    Missing,
    Always,
    Never,
}

impl Pull {
    fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// For whom it is.
pub(super) struct Of<'a> {
    pub(super) plugin: &'a str,
    pub(super) allowed: &'a Allowed,
    pub(super) settings: &'a Settings,
}

impl Container {
    /// What cannot be mistaken for an option or for more than one word.
    fn check(&self, of: &Of<'_>) -> Result<(), ProcessError> {
        if !is_plain(&self.image, "._-:/@") {
            return Err(ProcessError::wanted("image", "the name of an image"));
        }
        if self
            .name
            .as_ref()
            .is_some_and(|name| !is_plain(name, "._-"))
        {
            let expected = "letters, digits, dots, underscores and hyphens";
            return Err(ProcessError::wanted("name", expected));
        }
        for (volume, inside) in &self.volumes {
            if !inside.starts_with('/') || inside.contains([':', ',']) {
                return Err(ProcessError::wanted("volumes", "a path in the container"));
            }
            let is_ours = is_plain(volume, "._-");
            if !is_ours && !of.allowed.allows_volume(volume) {
                return Err(ProcessError::denied(of.plugin, &format!("volume:{volume}")));
            }
            if volume.contains([':', ',']) {
                return Err(ProcessError::wanted("volumes", "a path without : and ,"));
            }
        }
        Ok(())
    }

    pub(super) fn plan(
        &self,
        wanted: &Wanted,
        of: &Of<'_>,
        mut plan: Plan,
    ) -> Result<Plan, ProcessError> {
        self.check(of)?;
        let settings = of.settings;
        let program = program(settings)?;
        let label = label(&self.key)?;
        let mut words = vec![program.clone(), "run".to_owned()];
        let mut options = vec![
            format!("--label={label}"),
            format!("--pull={}", self.pull.word()),
            format!("--memory={}", settings.cage.memory_bytes),
            format!("--pids-limit={}", settings.cage.processes),
            "--security-opt=no-new-privileges".to_owned(),
        ];
        options.extend(self.name.iter().map(|name| format!("--name={name}")));
        options.extend((!self.is_kept).then(|| "--rm".to_owned()));
        options.extend(wanted.stdin.as_ref().map(|_| "--interactive".to_owned()));
        let ports = self.ports.iter();
        options.extend(ports.map(|(here, there)| format!("--publish=127.0.0.1:{here}:{there}")));
        let volumes = self.volumes.iter();
        options.extend(volumes.map(|(here, there)| format!("--volume={here}:{there}")));
        if !wanted.environment.is_empty() {
            let file = environment_file(&wanted.environment)?;
            plan.files.insert(ENVIRONMENT.to_owned(), file);
            options.push(format!("--env-file={ENVIRONMENT}"));
        }
        words.extend(options);
        words.push(self.image.clone());
        if let Some(command) = &self.command {
            words.extend(["sh", "-c", command, "sh"].map(str::to_owned));
        }
        words.extend(wanted.arguments.iter().cloned());
        if words.iter().any(|word| word.contains('\0')) {
            return Err(ProcessError::wanted("command", "a text without NUL"));
        }
        plan.words = words;
        plan.environment = environment(settings);
        plan.containers = Some(Containers {
            program: PathBuf::from(program),
            label,
        });
        Ok(plan)
    }
}

/// Removes what has a key. That is done before anything of the key begins, so nothing but a look at the rest remains.
pub(super) fn removal(
    key: &str,
    settings: &Settings,
    mut plan: Plan,
) -> Result<Plan, ProcessError> {
    let program = program(settings)?;
    let label = label(key)?;
    let filter = format!("--filter=label={label}");
    plan.words = vec![program.clone(), "ps".to_owned(), "--all".to_owned(), filter];
    plan.environment = environment(settings);
    plan.containers = Some(Containers {
        program: PathBuf::from(program),
        label,
    });
    Ok(plan)
}

fn program(settings: &Settings) -> Result<String, ProcessError> {
    match &settings.container_program {
        Some(program) => executable(program).ok_or_else(|| ProcessError::Missing {
            program: program.display().to_string(),
        }),
        None => settings.find(&PROGRAMS),
    }
}

fn label(key: &str) -> Result<String, ProcessError> {
    if key.is_empty() || key.contains(['\0', '\n', ',', '"']) {
        return Err(ProcessError::wanted(
            "key",
            "a line without commas and quotes",
        ));
    }
    Ok(format!("nself.key={key}"))
}

fn environment(settings: &Settings) -> BTreeMap<String, String> {
    let passed_on = PASSED_ON.iter();
    let mut environment: BTreeMap<String, String> = passed_on
        .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
        .collect();
    environment.insert("PATH".to_owned(), settings.path_variable());
    environment
}

fn environment_file(environment: &BTreeMap<String, String>) -> Result<String, ProcessError> {
    let is_line = |text: &String| !text.contains(['\n', '\r']);
    let are_lines = environment.iter().all(|(name, value)| {
        is_line(name)
            && is_line(value)
            && !name.starts_with('#')
            && !name.contains(char::is_whitespace)
    });
    if !are_lines {
        let expected = "values of one line, for a container";
        return Err(ProcessError::wanted("environment", expected));
    }
    let lines = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    Ok(lines.collect())
}

/// Letters, digits and some signs, of which none comes first.
fn is_plain(text: &str, signs: &str) -> bool {
    text.starts_with(|one: char| one.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || signs.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_option_is_no_image() {
        for (text, expected) in [
            ("alpine:3", true),
            ("example.org:5000/home/tea@sha256:ab", true),
            ("--privileged", false),
            ("alpine -v", false),
            ("", false),
        ] {
            assert_eq!(is_plain(text, "._-:/@"), expected, "{text}");
        }
    }

    #[test]
    fn an_environment_is_a_file_of_lines() {
        let of = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let file = environment_file(&of("A", "b c=d")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file, "A=b c=d\n");
        for (name, value) in [("A", "b\nLD_PRELOAD=x"), ("#A", "b"), ("A B", "c")] {
            assert!(environment_file(&of(name, value)).is_err(), "{name}");
        }
    }
}
