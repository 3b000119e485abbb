//! The keys of `[plugins.stream.config]`.

use std::collections::BTreeMap;

use nself_plugin_api::{Schema, prelude::Role};
use serde::Deserialize;

use crate::{error::StreamError, media::Settings};

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Kinds of channels, by the first part of a name behind its family: `[plugins.stream.config.namespaces.chat]`. They are
    /// added to the built-in ones (`family`, `user`, `public`, `chat`, `typing`), and replace those of the same name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Subscriptions that a connection may have at a time.
    #[schema(minimum = 1, maximum = 10_000)]
    pub channels_per_connection: u32,
    /// Connections that a user may have on this host at a time.
    #[schema(minimum = 1, maximum = 10_000)]
    pub connections_per_user: u32,
    /// Seconds that a connection goes on after its token has expired, for a new one to come.
    #[schema(minimum = 0, maximum = 300)]
    pub expired_grace_seconds: u32,
    /// Seconds between two pings of a connection.
    #[schema(minimum = 1, maximum = 300)]
    pub ping_seconds: u32,
    /// Seconds in which a ping has to be answered.
    #[schema(minimum = 1, maximum = 60)]
    pub pong_seconds: u32,
    /// Bytes that may wait for a client that does not keep up; it is cut off then, and recovers when it comes back.
    #[schema(minimum = 65_536, maximum = 67_108_864)]
    pub queue_bytes_max: u32,
    /// Media sessions.
    pub media: Settings,
    /// Publications that a client may have missed and is still given when it comes back.
    #[schema(minimum = 1, maximum = 10_000)]
    pub recovery_max: u32,
}

/// What holds for one kind of channels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Namespace {
    /// Roles that may subscribe. To `user` a user's own channels belong, to `public` everybody with a token is let in.
    pub subscribe: Vec<Who>,
    /// Roles that may publish over their connection. Plugins and operators publish in any case.
    pub publish: Vec<Who>,
    /// Publications that are kept for who comes back or asks for the history; 0 keeps none.
    #[schema(minimum = 0, maximum = 10_000)]
    pub history_size: u32,
    /// Seconds that they are kept.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub history_seconds: u32,
    /// Whether subscribers may ask who is there.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes.
    pub join_leave: bool,
    /// Nothing is written down, and who is not there at the moment misses it: for what is stale in a second.
    pub ephemeral: bool,
    /// Bytes of a publication's data, at most 5000 of an ephemeral one.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub message_bytes_max: u32,
    /// Publications of one connection in a second.
    #[schema(minimum = 1, maximum = 10_000)]
    pub publish_per_second: u32,
}

/// A role in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Who {
    /// Owns the family.
    Owner,
    /// Administers the family.
    Admin,
    /// A grown-up member.
    AdultMember,
    /// A teenager.
    YouthMember,
    /// A child.
    ChildMember,
    /// A paired machine.
    Device,
}

impl Who {
    /// As the product's policy has it for `stream.read`.
    const ALL: [Self; 6] = [
        Self::Owner,
        Self::Admin,
        Self::AdultMember,
        Self::YouthMember,
        Self::ChildMember,
        Self::Device,
    ];
    /// As the product's policy has it for `message.send`.
    const TALKERS: [Self; 4] = [
        Self::Owner,
        Self::Admin,
        Self::AdultMember,
        Self::YouthMember,
    ];

    /// Whether it is that role.
    pub(crate) fn is(self, role: Role) -> bool {
        let other = match role {
            Role::Owner => Self::Owner,
            Role::Admin => Self::Admin,
            Role::AdultMember => Self::AdultMember,
            Role::YouthMember => Self::YouthMember,
            Role::ChildMember => Self::ChildMember,
            Role::Device => Self::Device,
        };
        self == other
    }
}

/// What a NOTIFY holds, less what is around it.
const EPHEMERAL_BYTES_MAX: u32 = 5_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            channels_per_connection: 128,
            connections_per_user: 50,
            expired_grace_seconds: 25,
            ping_seconds: 25,
            pong_seconds: 8,
            queue_bytes_max: 1 << 20,
            media: Settings::default(),
            recovery_max: 300,
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            subscribe: Who::ALL.to_vec(),
            publish: Vec::new(),
            history_size: 0,
            history_seconds: 3_600,
            presence: false,
            join_leave: false,
            ephemeral: false,
            message_bytes_max: 65_536,
            publish_per_second: 30,
        }
    }
}

impl Config {
    /// The built-in namespaces, and those of the configuration over them.
    ///
    /// # Errors
    ///
    /// When one of them cannot be as it is written.
    pub(crate) fn all_namespaces(&self) -> Result<BTreeMap<String, Namespace>, StreamError> {
        let mut all = BTreeMap::from(built_in().map(|(name, rules)| (name.to_owned(), rules)));
        for (name, rules) in &self.namespaces {
            check(name, rules)?;
            all.insert(name.clone(), rules.clone());
        }
        Ok(all)
    }
}

fn built_in() -> [(&'static str, Namespace); 5] {
    let kept = Namespace {
        history_size: 100,
        ..Namespace::default()
    };
    [
        ("family", kept.clone()),
        ("user", kept.clone()),
        ("public", kept),
        (
            "chat",
            Namespace {
                subscribe: Who::TALKERS.to_vec(),
                publish: Who::TALKERS.to_vec(),
                history_size: 300,
                history_seconds: 86_400,
                presence: true,
                join_leave: true,
                ..Namespace::default()
            },
        ),
        (
            "typing",
            Namespace {
                subscribe: Who::TALKERS.to_vec(),
                publish: Who::TALKERS.to_vec(),
                ephemeral: true,
                message_bytes_max: 1_000,
                ..Namespace::default()
            },
        ),
    ]
}

fn check(name: &str, rules: &Namespace) -> Result<(), StreamError> {
    let fails = |expected| {
        Err(StreamError::Namespace {
            name: name.to_owned(),
            expected,
        })
    };
    let is_word = name.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    });
    if name.is_empty() || name.len() > 32 || !is_word {
        return fails("a name of at most 32 lower-case letters, digits, _ and -");
    }
    if rules.ephemeral && rules.history_size > 0 {
        return fails("no history of what is ephemeral");
    }
    if rules.ephemeral && rules.message_bytes_max > EPHEMERAL_BYTES_MAX {
        return fails("message_bytes_max of at most 5000 where it is ephemeral");
    }
    Ok(())
}
