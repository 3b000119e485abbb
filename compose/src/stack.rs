//! The stack as Compose itself reads it.

use serde_json::{Map, Value};

use crate::shell::{Answer, answer, tool};

/// A stage of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `compose.yaml` alone.
    Base,
    /// With `compose.dev.yaml`.
    Dev,
    /// With `compose.staging.yaml`.
    Staging,
    /// With `compose.prod.yaml`.
    Prod,
}

/// All of them.
pub const STAGES: [Stage; 4] = [Stage::Base, Stage::Dev, Stage::Staging, Stage::Prod];

/// What an operator has to say before production starts.
pub const OPERATOR: [(&str, &str); 3] = [
    ("NSELF_PUBLIC_URL", "https://home.example"),
    ("NSELF_MAIL_FROM", "Hearth <no-reply@home.example>"),
    ("NSELF_SMTP_HOST", "smtp.home.example"),
];

impl Stage {
    /// Its files, below `compose/`.
    pub fn files(self) -> Vec<&'static str> {
        let overlay = match self {
            Self::Base => None,
            Self::Dev => Some("compose.dev.yaml"),
            Self::Staging => Some("compose.staging.yaml"),
            Self::Prod => Some("compose.prod.yaml"),
        };
        std::iter::once("compose.yaml").chain(overlay).collect()
    }
}

/// What `docker compose config` says, with nothing of this machine's `.env` in it.
pub fn config(files: &[&str], variables: &[(&str, &str)]) -> Answer {
    let mut compose = tool("docker-compose");
    compose.args(["--env-file", "/dev/null", "--profile", "*"]);
    for file in files {
        let file = std::path::Path::new("compose").join(file);
        compose.arg("--file").arg(file);
    }
    compose.args(["config", "--format", "json"]);
    compose.envs(variables.iter().copied());
    answer(&mut compose)
}

/// The parsed stack.
#[derive(Debug, Clone)]
pub struct Stack(Value);

impl Stack {
    /// The stack of a stage.
    ///
    /// # Panics
    ///
    /// When Compose refuses it.
    #[track_caller]
    pub fn of(stage: Stage) -> Self {
        let said = config(&stage.files(), &OPERATOR).good(&format!("{stage:?}"));
        Self(serde_json::from_str(&said).expect("Compose prints JSON"))
    }

    /// Any part of it, by JSON pointer; `null` when it is not there.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Its services, by name.
    ///
    /// # Panics
    ///
    /// Never: Compose prints them.
    pub fn services(&self) -> Vec<Service<'_>> {
        let services = self.at("/services").as_object().expect("services");
        services
            .iter()
            .map(|(name, value)| Service { name, value })
            .collect()
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    #[track_caller]
    pub fn service(&self, name: &str) -> Service<'_> {
        let mut services = self.services().into_iter();
        let found = services.find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("no service {name}"))
    }
}

/// One service.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its name.
    pub name: &'a str,
    value: &'a Value,
}

impl<'a> Service<'a> {
    /// Any part of it, by JSON pointer; `null` when it is not there.
    pub fn at(&self, pointer: &str) -> &'a Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A text.
    pub fn text(&self, pointer: &str) -> &'a str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// A list; none is an empty one.
    pub fn list(&self, pointer: &str) -> Vec<&'a Value> {
        self.at(pointer).as_array().into_iter().flatten().collect()
    }

    /// A list of texts.
    pub fn words(&self, pointer: &str) -> Vec<&'a str> {
        let list = self.list(pointer);
        list.into_iter().filter_map(Value::as_str).collect()
    }

    /// A table; none is an empty one.
    pub fn table(&self, pointer: &str) -> Map<String, Value> {
        self.at(pointer).as_object().cloned().unwrap_or_default()
    }

    /// Its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let table = self.table("/environment");
        table
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    /// Whether it does one thing and ends.
    pub fn is_job(&self) -> bool {
        self.text("/restart") == "no"
    }

    /// The numbers of its user and group.
    pub fn user(&self) -> (u32, u32) {
        let user = self.text("/user").split_once(':');
        let numbers =
            user.and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
        numbers.unwrap_or_else(|| panic!("{} names its user as number:number", self.name))
    }
}

/// Seconds of a duration such as `1m30s`.
///
/// # Panics
///
/// When it is none.
pub fn seconds(duration: &str) -> u64 {
    let mut total = 0;
    let mut number = 0;
    for letter in duration.chars() {
        let factor = match letter {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            digit => {
                let digit = digit.to_digit(10).unwrap_or_else(|| panic!("{duration}"));
                number = number * 10 + u64::from(digit);
                continue;
            }
        };
        total += number * factor;
        number = 0;
    }
    total
}
