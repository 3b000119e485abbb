//! Names of channels: what one is, whose it is, and who may do what with it.
//!
//! A name is `family:<id>:<rest>`, `user:<id>` (with or without a rest) or `public:<rest>`. In a family, `family:<id>:me:<user>` is one person's: what
//! they alone may hear there, and not with a token of another family; `me` is their own. A name that begins with a namespace
//! of the configuration (`chat:kitchen`) is one of the caller's own family: the server puts the family in. Names are compared
//! byte by byte, so there must be no second spelling of any: letters, digits and `_.~-`, parts between single colons, ids as
//! Postgres prints them. The same rules stand in `stream.namespace_of`, for SQL that publishes.

use std::{collections::BTreeMap, sync::Arc};

use nself_plugin_api::prelude::Principal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{config::Namespace, protocol::Error};

/// What a person's own channel in a family is called, and its namespace.
pub(crate) const OWN: &str = "me";

/// Longest name.
const NAME_BYTES_MAX: usize = 255;

/// Whose a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Family(Uuid),
    /// One person's, in that family.
    Member(Uuid, Uuid),
    User(Uuid),
    Public,
}

/// A channel that there may be.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    /// The one name that it has.
    pub name: Arc<str>,
    /// The name as the client wrote it, and wants to read it.
    pub spelled: Arc<str>,
    /// What holds for its kind.
    pub rules: Arc<Namespace>,
    /// Whether a subscription to it is the server's doing, and not asked for by a command.
    pub is_by_server: bool,
    /// Whether its subscriber is told what has changed since the publication before.
    pub takes_deltas: bool,
    /// Whether its subscriber comes back to it before others were told that it left.
    pub is_back: bool,
    /// What a program that made the subscription has said of it.
    pub own: Own,
    scope: Scope,
}

/// What holds for one subscription, where it is not what holds for its namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Own {
    /// Whether others find it in the presence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<bool>,
    /// Whether others are told that it comes and goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_leave: Option<bool>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// The namespaces of this host.
#[derive(Debug)]
pub(crate) struct Namespaces(BTreeMap<String, Arc<Namespace>>);

impl Namespaces {
    pub(crate) fn new(all: BTreeMap<String, Namespace>) -> Self {
        Self(
            all.into_iter()
                .map(|(name, rules)| (name, Arc::new(rules)))
                .collect(),
        )
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.0.iter().map(|(name, rules)| (&**name, &**rules))
    }

    /// The channel that a client means. What is another family's, or another user's, is not there for it.
    ///
    /// # Errors
    ///
    /// [`Error::BAD_REQUEST`] for what is no name, [`Error::UNKNOWN_CHANNEL`] for what is none of the caller's channels.
    pub(crate) fn resolve(&self, spelled: &str, caller: &Principal) -> Result<Channel, Error> {
        if !is_name(spelled) {
            return Err(Error::BAD_REQUEST);
        }
        let first = spelled.split(':').next().unwrap_or_default();
        let channel = if is_scope(first) {
            self.find(spelled)
        } else if spelled == OWN {
            own_name(caller).and_then(|name| self.find(&name))
        } else if self.0.contains_key(first) {
            let family = caller.family_id.ok_or(Error::UNKNOWN_CHANNEL)?;
            self.find(&format!("family:{family}:{spelled}"))
        } else {
            None
        };
        let channel = channel
            .filter(|channel| channel.is_of(caller))
            .ok_or(Error::UNKNOWN_CHANNEL)?;
        Ok(Channel {
            spelled: spelled.into(),
            ..channel
        })
    }

    /// The channel of a whole name, for those who speak for everybody.
    pub(crate) fn find(&self, name: &str) -> Option<Channel> {
        if !is_name(name) {
            return None;
        }
        let (kind, rest) = name.split_once(':')?;
        let (scope, namespace) = match kind {
            "family" => {
                let (id, rest) = rest.split_once(':')?;
                let first = rest.split(':').next().unwrap_or_default();
                let is_known = !is_scope(first) && self.0.contains_key(first);
                let namespace = if is_known { first } else { kind };
                let family = canonical(id)?;
                let scope = if first == OWN {
                    let user = rest.strip_prefix(OWN)?.strip_prefix(':')?;
                    Scope::Member(family, canonical(user)?)
                } else {
                    Scope::Family(family)
                };
                (scope, namespace)
            }
            "user" => {
                let id = rest.split(':').next().unwrap_or_default();
                (Scope::User(canonical(id)?), kind)
            }
            "public" => (Scope::Public, kind),
            _ => return None,
        };
        let name: Arc<str> = name.into();
        Some(Channel {
            spelled: Arc::clone(&name),
            name,
            scope,
            rules: Arc::clone(self.0.get(namespace)?),
            is_by_server: false,
            takes_deltas: false,
            is_back: false,
            own: Own::default(),
        })
    }

    /// The channels that the server subscribes a caller to: those that may be read, of the namespaces that say so.
    pub(crate) fn on_connect(&self, caller: &Principal) -> Vec<Channel> {
        let marked = self.0.iter().filter(|(_, rules)| rules.on_connect);
        let names = marked.filter_map(|(name, _)| match &**name {
            "user" => caller
                .user_id
                .or(caller.device_id)
                .map(|id| format!("user:{id}")),
            OWN => own_name(caller),
            name => caller
                .family_id
                .map(|family| format!("family:{family}:{name}")),
        });
        names
            .filter_map(|name| self.find(&name))
            .filter(|channel| channel.may_subscribe(caller))
            .map(Channel::by_server)
            .collect()
    }
}

impl Channel {
    /// The same, to which the server subscribes somebody.
    pub(crate) fn by_server(self) -> Self {
        Self {
            is_by_server: true,
            ..self
        }
    }

    /// The same, of which a program has said something of its own.
    pub(crate) fn with(self, own: Own) -> Self {
        Self { own, ..self }
    }

    /// Whether the caller is one of those whose channel it is.
    fn is_of(&self, caller: &Principal) -> bool {
        match self.scope {
            Scope::Family(family) => caller.family_id == Some(family),
            Scope::Member(family, user) => {
                caller.family_id == Some(family) && caller.user_id == Some(user)
            }
            // A machine by itself is called by its own id.
            Scope::User(user) => caller.user_id.or(caller.device_id) == Some(user),
            Scope::Public => true,
        }
    }

    /// Whether the caller may read it.
    pub(crate) fn may_subscribe(&self, caller: &Principal) -> bool {
        let by_role = match self.scope {
            Scope::Family(_) | Scope::Member(..) => caller
                .role
                .is_some_and(|role| self.rules.subscribe.iter().any(|who| who.is(role))),
            Scope::User(_) | Scope::Public => true,
        };
        by_role && self.is_of(caller)
    }

    /// Whether the caller may write to it. Who has no role in a family has none in public either.
    pub(crate) fn may_publish(&self, caller: &Principal) -> bool {
        let by_role = caller
            .role
            .is_some_and(|role| self.rules.publish.iter().any(|who| who.is(role)));
        by_role && self.is_of(caller)
    }

    /// Whether its subscriber stands in the presence.
    pub(crate) fn is_listed(&self) -> bool {
        self.own.presence.unwrap_or(self.rules.presence)
    }

    /// Whether others are told that its subscriber comes and goes.
    pub(crate) fn is_announced(&self) -> bool {
        self.own.join_leave.unwrap_or(self.rules.join_leave)
    }

    /// Whether what was missed can be had later.
    pub(crate) fn is_recoverable(&self) -> bool {
        self.rules.history_size > 0
    }
}

/// The caller's own channel in their family.
fn own_name(caller: &Principal) -> Option<String> {
    let (family, user) = (caller.family_id?, caller.user_id?);
    Some(format!("family:{family}:{OWN}:{user}"))
}

fn is_scope(word: &str) -> bool {
    matches!(word, "family" | "user" | "public")
}

/// Whether it could be a name: every part has something in it, and nothing that is written in two ways.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte);
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(is_plain) && part.bytes().any(|byte| byte != b'.')
    };
    name.len() <= NAME_BYTES_MAX && name.split(':').all(is_part)
}

/// The id, if that is how ids are written: lower case, with hyphens, and nothing around it.
fn canonical(id: &str) -> Option<Uuid> {
    let read = Uuid::parse_str(id).ok()?;
    let mut buffer = Uuid::encode_buffer();
    (read.hyphenated().encode_lower(&mut buffer) == id).then_some(read)
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::{Kind, prelude::Role};

    use super::*;
    use crate::config::{Config, Who};

    const OURS: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_00ab_cdef);
    const THEIRS: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_00ab_cdee);
    const ME: Uuid = Uuid::from_u128(7);

    fn namespaces() -> Namespaces {
        Namespaces::new(
            Config::default()
                .all_namespaces()
                .expect("the built-in ones are good"),
        )
    }

    fn caller(role: Option<Role>) -> Principal {
        Principal {
            kind: Kind::User,
            subject: ME.to_string(),
            user_id: Some(ME),
            session_id: None,
            family_id: role.map(|_| OURS),
            member_id: None,
            device_id: None,
            role,
            aal: 1,
            elevated: false,
            expires_at: 0,
            scopes: Vec::new(),
        }
    }

    #[track_caller]
    fn check(spelled: &str, role: Option<Role>, expected: Result<&str, Error>) {
        let resolved = namespaces().resolve(spelled, &caller(role));
        let got = resolved.as_ref().map(|channel| &*channel.name);
        assert_eq!(got, expected.as_ref().copied(), "{spelled:?}");
    }

    #[test]
    fn a_name_leads_to_the_one_channel_that_it_is() {
        let owner = Some(Role::Owner);
        let ours = format!("family:{OURS}");
        for (spelled, name) in [
            (format!("{ours}:news"), format!("{ours}:news")),
            (
                format!("{ours}:chat:kitchen"),
                format!("{ours}:chat:kitchen"),
            ),
            ("chat:kitchen".to_owned(), format!("{ours}:chat:kitchen")),
            (
                "typing:a.b~c-d_E:9".to_owned(),
                format!("{ours}:typing:a.b~c-d_E:9"),
            ),
            ("me".to_owned(), format!("{ours}:me:{ME}")),
            (format!("{ours}:me:{ME}"), format!("{ours}:me:{ME}")),
            (format!("user:{ME}"), format!("user:{ME}")),
            (format!("user:{ME}:mail"), format!("user:{ME}:mail")),
            ("public:status".to_owned(), "public:status".to_owned()),
        ] {
            check(&spelled, owner, Ok(&name));
        }
    }

    #[test]
    fn no_spelling_leads_to_another_family() {
        let theirs = THEIRS.to_string();
        let ours = OURS.to_string();
        let unknown = [
            format!("family:{theirs}:news"),
            format!("family:{theirs}:chat:kitchen"),
            format!("family:{}:news", theirs.to_uppercase()),
            format!("family:{}:news", THEIRS.simple()),
            format!("family:{}:news", ours.to_uppercase()),
            format!("FAMILY:{theirs}:news"),
            format!("Family:{ours}:news"),
            "family:*:news".replace('*', "~"),
            format!("user:{theirs}"),
            format!("user:{}", ME.simple()),
            format!("families:{theirs}:news"),
            "family".to_owned(),
            format!("family:{ours}"),
            "public".to_owned(),
            "nothing:of:the:kind".to_owned(),
        ];
        for spelled in &unknown {
            check(spelled, Some(Role::Owner), Err(Error::UNKNOWN_CHANNEL));
        }
        // Within the own family, what looks like a way out is a plain word.
        let plain = format!("family:{ours}:chat:family:{theirs}:news");
        check(&plain, Some(Role::Owner), Ok(&plain));
        let aliased = format!("chat:family:{theirs}:news");
        let name = format!("family:{ours}:{aliased}");
        check(&aliased, Some(Role::Owner), Ok(&name));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_name() {
        let theirs = THEIRS.to_string();
        for spelled in [
            String::new(),
            ":".to_owned(),
            format!("family::{theirs}:news"),
            format!("family:{theirs}:"),
            format!(":family:{theirs}:news"),
            format!("family:{theirs}::news"),
            format!("family:{theirs}:..:news"),
            format!("family:{OURS}:../../{theirs}"),
            format!("family%3A{theirs}%3Anews"),
            format!("family:%30{}:news", &theirs[1..]),
            format!("family:{theirs}:news\0"),
            format!("\0family:{theirs}:news"),
            format!("family:{theirs}:news\n"),
            format!(" family:{theirs}:news"),
            format!("family:{{{theirs}}}:news"),
            format!("family:urn\u{ff1a}uuid:{theirs}:news"),
            format!("family\u{ff1a}{theirs}\u{ff1a}news"),
            format!("f\u{0430}mily:{theirs}:news"),
            format!("famil\u{0443}:{theirs}:news"),
            format!("family:{theirs}:ne\u{200b}ws"),
            format!("family:{theirs}:\u{202e}swen"),
            format!("family:{theirs}:ne\u{301}ws"),
            format!("family:{}:news", theirs.replace('0', "\u{ff10}")),
            format!("family:{theirs}:{}", "a".repeat(10_000)),
            format!("family:{OURS}:{}", "a".repeat(256)),
            format!("$family:{theirs}:news"),
            format!("family:{theirs}:news#1,2"),
            format!("family:{theirs}:*"),
            "chat:*".to_owned(),
            "chat:".to_owned(),
        ] {
            check(&spelled, Some(Role::Owner), Err(Error::BAD_REQUEST));
        }
    }

    #[test]
    fn who_has_no_family_has_no_family_s_channels() {
        check("chat:kitchen", None, Err(Error::UNKNOWN_CHANNEL));
        check(
            &format!("family:{OURS}:news"),
            None,
            Err(Error::UNKNOWN_CHANNEL),
        );
        check("public:status", None, Ok("public:status"));
    }

    #[test]
    fn a_role_reads_and_writes_what_its_namespace_says() {
        let namespaces = namespaces();
        for (spelled, role, reads, writes) in [
            ("chat:kitchen", Role::YouthMember, true, true),
            ("chat:kitchen", Role::ChildMember, false, false),
            ("chat:kitchen", Role::Device, false, false),
            ("typing:kitchen", Role::AdultMember, true, true),
            ("public:status", Role::Owner, true, false),
        ] {
            let caller = caller(Some(role));
            let channel = namespaces.resolve(spelled, &caller).expect("a channel");
            let got = (channel.may_subscribe(&caller), channel.may_publish(&caller));
            assert_eq!(got, (reads, writes), "{spelled} as {role:?}");
        }
    }

    #[test]
    fn the_server_subscribes_a_caller_to_what_it_may_read() {
        let mut config = Config::default();
        for (name, subscribe) in [("family", Who::ALL.to_vec()), ("board", vec![Who::Owner])] {
            let rules = Namespace {
                on_connect: true,
                subscribe,
                ..Namespace::default()
            };
            config.namespaces.insert(name.to_owned(), rules);
        }
        let mine = Namespace {
            on_connect: true,
            ..Namespace::default()
        };
        config.namespaces.insert("user".to_owned(), mine);
        let namespaces = Namespaces::new(config.all_namespaces().expect("they are good"));
        let names = |role| -> Vec<String> {
            let channels = namespaces.on_connect(&caller(role));
            channels.iter().map(|one| one.name.to_string()).collect()
        };
        let (own, all) = (format!("user:{ME}"), format!("family:{OURS}:family"));
        let board = format!("family:{OURS}:board");
        assert_eq!(names(Some(Role::Owner)), [&*board, &all, &own]);
        assert_eq!(names(Some(Role::Device)), [&*all, &own]);
        assert_eq!(names(None), [&*own]);
    }

    #[test]
    fn a_caller_that_changed_families_reads_nothing_of_the_old_one() {
        let mut caller = caller(Some(Role::Owner));
        let channel = namespaces()
            .resolve("chat:kitchen", &caller)
            .expect("a channel");
        caller.family_id = Some(THEIRS);
        assert!(!channel.may_subscribe(&caller) && !channel.may_publish(&caller));
    }
}
