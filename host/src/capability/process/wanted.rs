//! What a plugin wants to be run, and the plan that is made of it.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use serde::Deserialize;

use super::{
    ProcessError, Settings,
    allowed::Allowed,
    container::{self, Container},
    plan::Plan,
};

/// Languages of scripts: what they are called, the file that a script is in, and programs that run it.
pub(super) const LANGUAGES: [(&str, &str, &[&str]); 2] = [
    ("js", "script.mjs", &["node"]),
    ("python", "script.py", &["python3"]),
];

/// The language that is called so.
pub(super) fn language(name: &str) -> Option<&'static str> {
    let name = if name == "javascript" { "js" } else { name };
    let found = LANGUAGES.iter().find(|(known, ..)| *known == name);
    found.map(|(known, ..)| *known)
}

const SHELL: &str = "/bin/sh";

/// As it crosses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) run: Run,
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) stdin: Option<String>,
    #[serde(default)]
    time_limit_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Run {
    Shell { command: String },
    Script { language: String, code: String },
    Program { path: String },
    Container(Container),
    Removal { key: String },
}

impl Run {
    /// In the words of the operator's list.
    fn word(&self) -> String {
        match self {
            Self::Shell { .. } => "shell".to_owned(),
            Self::Script { language, .. } => format!("script:{language}"),
            Self::Program { path } => format!("program:{path}"),
            Self::Container(container) => format!("container:{}", container.image),
            Self::Removal { .. } => "container".to_owned(),
        }
    }
}

impl Wanted {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ProcessError> {
        let wanted: Self = serde_json::from_slice(bytes).map_err(ProcessError::Form)?;
        wanted.check()?;
        Ok(wanted)
    }

    /// What the system could not hand to a program.
    fn check(&self) -> Result<(), ProcessError> {
        if self.arguments.iter().any(|one| one.contains('\0')) {
            return Err(ProcessError::wanted("arguments", "texts without NUL"));
        }
        let is_bad = |(name, value): (&String, &String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        if self.environment.iter().any(is_bad) {
            let expected = "names without = and NUL, and values without NUL";
            return Err(ProcessError::wanted("environment", expected));
        }
        Ok(())
    }

    /// How long it may take.
    pub(super) fn limit(&self, settings: &Settings) -> Duration {
        let wanted = self.time_limit_ms.map(Duration::from_millis);
        wanted.unwrap_or(settings.time_max).min(settings.time_max)
    }

    /// The plan, if the operator lets `plugin` do that.
    pub(super) fn plan(
        self,
        plugin: &str,
        allowed: &Allowed,
        settings: &Settings,
    ) -> Result<Plan, ProcessError> {
        let word = self.run.word();
        let may = match self.run {
            Run::Removal { .. } => allowed.allows_containers(),
            _ => allowed.allows(&word),
        };
        if !may {
            return Err(ProcessError::denied(plugin, &word));
        }
        let mut plan = Plan {
            place: settings.place.clone(),
            stdin: self.stdin.clone().unwrap_or_default(),
            ..Plan::default()
        };
        let words = match &self.run {
            Run::Container(container) => {
                let of = container::Of {
                    plugin,
                    allowed,
                    settings,
                };
                return container.plan(&self, &of, plan);
            }
            Run::Removal { key } => return container::removal(key, settings, plan),
            Run::Shell { command } => {
                let program = executable(Path::new(SHELL)).ok_or(ProcessError::Missing {
                    program: SHELL.to_owned(),
                })?;
                vec![program, "-c".to_owned(), command.clone(), "sh".to_owned()]
            }
            Run::Program { path } => {
                let program = executable(Path::new(path));
                vec![program.ok_or_else(|| ProcessError::Missing {
                    program: path.clone(),
                })?]
            }
            Run::Script {
                language: name,
                code,
            } => {
                let known = LANGUAGES
                    .iter()
                    .find(|(known, ..)| language(name) == Some(known));
                let Some((_, file, programs)) = known else {
                    return Err(ProcessError::wanted("language", "js or python"));
                };
                plan.files.insert((*file).to_owned(), code.clone());
                vec![settings.find(programs)?, (*file).to_owned()]
            }
        };
        if words.iter().any(|word| word.contains('\0')) {
            return Err(ProcessError::wanted("command", "a text without NUL"));
        }
        plan.words = words;
        plan.words.extend(self.arguments);
        plan.environment
            .insert("PATH".to_owned(), settings.path_variable());
        plan.environment.extend(self.environment);
        plan.cage = Some(settings.cage);
        Ok(plan)
    }
}

impl Settings {
    /// The first of these programs in the directories of the operator.
    pub(super) fn find(&self, programs: &[&str]) -> Result<String, ProcessError> {
        let places = self.path.iter();
        let mut files = places.flat_map(|place| programs.iter().map(|name| place.join(name)));
        let found = files.find_map(|file| executable(&file));
        found.ok_or_else(|| ProcessError::Missing {
            program: programs.join(" and "),
        })
    }

    pub(super) fn path_variable(&self) -> String {
        let places = self.path.iter().map(|place| place.display().to_string());
        places.collect::<Vec<_>>().join(":")
    }
}

/// The path of a program, when one is there.
pub(super) fn executable(path: &Path) -> Option<String> {
    let about = path.metadata().ok()?;
    let may_run = about.is_file() && about.permissions().mode() & 0o111 != 0;
    let path = path.to_str().filter(|_| may_run)?;
    Some(path.to_owned())
}
