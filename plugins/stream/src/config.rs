//! The keys of `[plugins.stream.config]`.

use std::collections::BTreeMap;

use nself_plugin_api::{Schema, prelude::Role};
use serde::{Deserialize, Serialize};

use crate::{channel::OWN, error::StreamError, media::Settings};

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Kinds of channels, by the first part of a name behind its family: `[plugins.stream.config.namespaces.chat]`. They are
    /// added to the built-in ones (`family`, `user`, `public`, `me`, `chat`, `typing`, `changes`), and replace those of the same name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Tables whose changes are published to the family that the row belongs to, where the table's owner lets them be
    /// (`stream.publish_changes`): `[plugins.stream.config.tables."public.posts"]`.
    pub tables: BTreeMap<String, Table>,
    /// Subscriptions that a connection may have at a time.
    #[schema(minimum = 1, maximum = 10_000)]
    pub channels_per_connection: u32,
    /// Commands of a connection in a second, other than publications, which have a rate by their namespace. As many as it may
    /// have subscriptions come on top of it at once.
    #[schema(minimum = 1, maximum = 10_000)]
    pub commands_per_second: u32,
    /// Connections that a user may have on this host at a time.
    #[schema(minimum = 1, maximum = 10_000)]
    pub connections_per_user: u32,
    /// Seconds that a connection goes on after its token has expired, for a new one to come.
    #[schema(minimum = 0, maximum = 300)]
    pub expired_grace_seconds: u32,
    /// Where Hasura is, for `/v1/graphql` at this port. Without it there is nothing at that address.
    #[schema(min_length = 1, max_length = 253)]
    pub hasura_host: Option<String>,
    /// Its port.
    #[schema(minimum = 1, default = "8080")]
    pub hasura_port: u16,
    /// Whether it is spoken to by TLS.
    pub hasura_tls: bool,
    /// Web pages that may connect beside those of the host's own `public_url`: `https://app.example.org`, or `*` for all.
    pub origins: Vec<String>,
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
    /// How this host learns that there is something to deliver: by LISTEN, or, where a pooler stands before the database that does not
    /// take it, by asking.
    pub wakeup: Wakeup,
    /// Milliseconds between two questions, where it asks.
    #[schema(minimum = 20, maximum = 5_000)]
    pub poll_ms: u32,
}

/// How a host learns that there is something to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
pub enum Wakeup {
    /// It listens, on a connection of its own.
    Notify,
    /// It asks, whether somebody is connected or not.
    Poll,
}

/// What holds for one kind of channels.
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a configuration, each by itself"
)]
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Namespace {
    /// Roles that may subscribe. To `user` a user's own channels belong, to `public` everybody with a token is let in.
    pub subscribe: Vec<Who>,
    /// Roles that may publish over their connection. Plugins and operators publish in any case.
    pub publish: Vec<Who>,
    /// Whether the server subscribes who connects, where their role may: to `family:<id>:<namespace>`, and for the namespace
    /// `user` to `user:<id>`, for `me` to `family:<id>:me:<user>`. Not for `public`.
    pub on_connect: bool,
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
    /// Whether who asks for it (`delta: "fossil"`) is told what has changed since the publication before, and not all of it: for
    /// documents that are published again with each change.
    pub deltas: bool,
    /// Nothing is written down, and who is not there at the moment misses it: for what is stale in a second.
    pub ephemeral: bool,
    /// What becomes of publications for which a client that does not keep up has no room. Other than `recover` only where no history
    /// is kept.
    pub slow_consumer: SlowConsumer,
    /// Bytes of a publication's data, at most 5000 of an ephemeral one.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub message_bytes_max: u32,
    /// Publications of one connection in a second.
    #[schema(minimum = 1, maximum = 10_000)]
    pub publish_per_second: u32,
}

/// What becomes of publications for which a client that does not keep up has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
pub enum SlowConsumer {
    /// It is cut off, and recovers when it comes back.
    Recover,
    /// It gets the newest when it can.
    Latest,
    /// It misses the oldest of them.
    DropOldest,
}

/// What is told of a table's changes, and to whom: on `family:<id>:<namespace>:<table>`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// The namespace, by which it is said who is let into the family's channel of them.
    pub namespace: String,
    /// Columns that are told; without any, that and which row has changed. A column that not everybody may read who may read the row has
    /// no place here.
    pub columns: Vec<String>,
    /// By what it is said who may read a row. By default it is `content` where the table has a column `visibility`, and `conversation`
    /// where it has a `conversation_id`; rows of another table are told to nobody.
    pub audience: Option<Audience>,
}

/// By what it is said who may read a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Schema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Its `visibility`, its `author_id` and whether it is approved for children (`child_approved_at`).
    Content,
    /// Who is in the conversation.
    Conversation,
    /// Whose it is: `member_id`, `author_id` or `created_by`.
    Author,
    /// Everybody whom the namespace lets in may know that it has changed; what it says is not told.
    Family,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            namespace: "changes".to_owned(),
            columns: Vec::new(),
            audience: None,
        }
    }
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
    pub(crate) const ALL: [Self; 6] = [
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

    /// Its name, as the database has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Admin => "ADMIN",
            Self::AdultMember => "ADULT_MEMBER",
            Self::YouthMember => "YOUTH_MEMBER",
            Self::ChildMember => "CHILD_MEMBER",
            Self::Device => "DEVICE",
        }
    }

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
            tables: BTreeMap::new(),
            channels_per_connection: 128,
            commands_per_second: 100,
            connections_per_user: 50,
            expired_grace_seconds: 25,
            hasura_host: None,
            hasura_port: 8_080,
            hasura_tls: false,
            origins: Vec::new(),
            ping_seconds: 25,
            pong_seconds: 8,
            queue_bytes_max: 1 << 20,
            media: Settings::default(),
            recovery_max: 300,
            wakeup: Wakeup::Notify,
            poll_ms: 100,
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            subscribe: Who::ALL.to_vec(),
            publish: Vec::new(),
            on_connect: false,
            history_size: 0,
            history_seconds: 3_600,
            presence: false,
            join_leave: false,
            deltas: false,
            ephemeral: false,
            slow_consumer: SlowConsumer::Recover,
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
        for (name, table) in &self.tables {
            check_table(name, table, &all)?;
        }
        Ok(all)
    }
}

fn check_table(
    name: &str,
    table: &Table,
    namespaces: &BTreeMap<String, Namespace>,
) -> Result<(), StreamError> {
    let fails = |expected| {
        Err(StreamError::Table {
            name: name.to_owned(),
            expected,
        })
    };
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let is_name = name
        .split_once('.')
        .is_some_and(|(schema, table)| is_word(schema) && is_word(table));
    if !is_name {
        return fails("a name such as public.posts, of letters, digits and _");
    }
    let is_family_s = !matches!(&*table.namespace, "family" | "user" | "public" | OWN);
    if !is_family_s || !namespaces.contains_key(&table.namespace) {
        return fails("a namespace of the configuration that families have");
    }
    Ok(())
}

fn built_in() -> [(&'static str, Namespace); 7] {
    let kept = Namespace {
        history_size: 100,
        ..Namespace::default()
    };
    [
        ("family", kept.clone()),
        ("user", kept.clone()),
        ("public", kept.clone()),
        (OWN, kept.clone()),
        (
            "changes",
            Namespace {
                // Who may see the family's content.
                subscribe: Who::TALKERS.to_vec(),
                ..kept
            },
        ),
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
    if name == "public" && rules.on_connect {
        return fails("no on_connect: there is no one public channel");
    }
    if rules.ephemeral && rules.history_size > 0 {
        return fails("no history of what is ephemeral");
    }
    if rules.slow_consumer != SlowConsumer::Recover && rules.history_size > 0 {
        return fails("slow_consumer = \"recover\" where there is a history");
    }
    if rules.deltas && rules.history_size == 0 {
        return fails("a history where there are deltas");
    }
    if rules.ephemeral && rules.message_bytes_max > EPHEMERAL_BYTES_MAX {
        return fails("message_bytes_max of at most 5000 where it is ephemeral");
    }
    Ok(())
}
