//! What a plugin declares, as constants; `write` turns it into the JSON of the manifest at compile time.
//!
//! The host reads the same document in `host/src/plugin/manifest.rs`.

use std::time::Duration;

use crate::{abi, command::Command, json::Json, plugin::Plugin, route::Route, schema::Schema};

/// Who the plugin is. Made with [`about!`](crate::about) from the crate's `Cargo.toml`.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Id: lower-case letters, digits, `_` and `-`; also the name of its Postgres schema.
    pub id: &'static str,
    /// Semantic version.
    pub version: &'static str,
    /// One sentence for people.
    pub description: &'static str,
    /// SPDX expression.
    pub license: &'static str,
    /// Address of its page.
    pub homepage: &'static str,
}

/// Makes [`About`](crate::manifest::About) from the crate's `Cargo.toml`: `about!("hello")`.
#[macro_export]
macro_rules! about {
    ($id:literal) => {
        $crate::manifest::About {
            id: $id,
            version: env!("CARGO_PKG_VERSION"),
            description: env!("CARGO_PKG_DESCRIPTION"),
            license: env!("CARGO_PKG_LICENSE"),
            homepage: env!("CARGO_PKG_HOMEPAGE"),
        }
    };
}

/// A plugin that must run before this one.
#[derive(Debug, Clone, Copy)]
pub struct Dependency {
    /// Its id.
    pub id: &'static str,
    /// Versions that serve, as in `Cargo.toml`.
    pub version: &'static str,
}

/// What the plugin may reach once the operator has accepted it. Start from [`Requires::NOTHING`].
#[derive(Debug, Clone, Copy)]
pub struct Requires {
    /// Capability ids such as `nself.db/1`, or `mail.send/1` of another plugin.
    pub capabilities: &'static [&'static str],
    /// Capabilities of other plugins that it uses where they are provided: granted like those above, but it runs without
    /// them, and starts before or after whoever provides them. What is provided is asked anew at each call:
    /// [`Calls::is_provided`](crate::capability::call::Calls::is_provided).
    pub optional: &'static [&'static str],
    /// Rights on tables of other schemas.
    pub tables: &'static [TableGrant],
    /// Hosts that `nself.http/1` and `nself.connect/1` may reach: `api.example.org`, `*.example.org:443`, `*` for every public host,
    /// or `{smtp_host}:{smtp_port}` for the one that these keys of the plugin's configuration name, wherever that is.
    pub egress: &'static [&'static str],
    /// Names of secrets.
    pub secrets: &'static [&'static str],
    /// TCP ports to listen on.
    pub ports: &'static [u16],
    /// Event types that it emits, `family.*` style.
    pub emits: &'static [&'static str],
    /// Whose rows of the shared tables it works on.
    pub families: Families,
}

impl Requires {
    /// Nothing at all.
    pub const NOTHING: Self = Self {
        capabilities: &[],
        optional: &[],
        tables: &[],
        egress: &[],
        secrets: &[],
        ports: &[],
        emits: &[],
        families: Families::Active,
    };
}

/// Whose rows of the shared tables a plugin reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// Those of the family in whose name a request comes: row-level security keeps every statement within it, and without
    /// a family there are none.
    Active,
    /// Those of every family: for what works beside requests, such as sweeps and exports. Shown to the operator at `enable`.
    All,
}

/// Rights on one table of another schema.
#[derive(Debug, Clone, Copy)]
pub struct TableGrant {
    /// `schema.table`.
    pub table: &'static str,
    /// Any of `select`, `insert`, `update`, `delete`, `references`.
    pub rights: &'static [&'static str],
}

/// Who may call a route.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// Nobody: what a route is until it says otherwise. The host refuses to load such a route.
    Unstated,
    /// Anybody, without a token.
    Public,
    /// Any authenticated principal.
    Authenticated,
    /// A principal whose role in its active family is one of these.
    Roles(&'static [Role]),
    /// A principal whose role may do this, by the policy that the host has: `member.manage`. Which roles that are is said there,
    /// once, for routes and GraphQL alike. A host that has no such action does not load the plugin.
    Action(&'static str),
    /// A service token or key that carries this scope.
    Service(&'static str),
    /// An operator of the host.
    Operator,
}

impl Access {
    /// Whoever may do this by the host's policy: `Access::action("member.manage")`.
    pub const fn action(action: &'static str) -> Self {
        Self::Action(action)
    }
}

/// A role in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
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

impl Role {
    /// All roles, in the order of their numbers at the boundary.
    pub const ALL: &'static [Self] = &[
        Self::Owner,
        Self::Admin,
        Self::AdultMember,
        Self::YouthMember,
        Self::ChildMember,
        Self::Device,
    ];
    /// Those who run the family.
    pub const MANAGERS: &'static [Self] = &[Self::Owner, Self::Admin];
    /// Grown-up members.
    pub const ADULTS: &'static [Self] = &[Self::Owner, Self::Admin, Self::AdultMember];
    /// Every person, no device.
    pub const PEOPLE: &'static [Self] = &[
        Self::Owner,
        Self::Admin,
        Self::AdultMember,
        Self::YouthMember,
        Self::ChildMember,
    ];

    /// The role's name, such as `ADULT_MEMBER`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::Admin => "ADMIN",
            Self::AdultMember => "ADULT_MEMBER",
            Self::YouthMember => "YOUTH_MEMBER",
            Self::ChildMember => "CHILD_MEMBER",
            Self::Device => "DEVICE",
        }
    }

    /// The role with that number at the boundary.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }
}

/// One step of the plugin's schema. Made with [`migration!`](crate::migration).
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// File name without ending: `0001_notes`.
    pub stem: &'static str,
    /// SQL forward.
    pub up: &'static str,
    /// SQL back.
    pub down: &'static str,
}

impl Migration {
    /// The number in front of the name.
    pub const fn number(&self) -> u32 {
        let bytes = self.stem.as_bytes();
        let mut number = 0;
        let mut at = 0;
        while at < bytes.len() && bytes[at] != b'_' {
            assert!(bytes[at].is_ascii_digit(), "a migration is named NNNN_name");
            number = number * 10 + (bytes[at] - b'0') as u32;
            at += 1;
        }
        assert!(
            at > 0 && at < bytes.len() - 1,
            "a migration is named NNNN_name"
        );
        number
    }

    /// The name after the number.
    pub const fn name(&self) -> &'static str {
        let mut at = 0;
        while self.stem.as_bytes()[at] != b'_' {
            at += 1;
        }
        self.stem.split_at(at + 1).1
    }
}

/// Embeds `migrations/STEM.up.sql` and `migrations/STEM.down.sql`: `migration!("0001_notes")`.
#[macro_export]
macro_rules! migration {
    ($stem:literal) => {
        $crate::manifest::Migration {
            stem: $stem,
            up: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/migrations/",
                $stem,
                ".up.sql"
            )),
            down: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/migrations/",
                $stem,
                ".down.sql"
            )),
        }
    };
}

/// A piece of Hasura metadata for the plugin's tables. Made with [`hasura!`](crate::hasura).
#[derive(Debug, Clone, Copy)]
pub struct HasuraFragment {
    /// File name.
    pub name: &'static str,
    /// YAML text.
    pub yaml: &'static str,
}

/// Embeds `hasura/NAME`: `hasura!("notes.yaml")`.
#[macro_export]
macro_rules! hasura {
    ($name:literal) => {
        $crate::manifest::HasuraFragment {
            name: $name,
            yaml: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/hasura/", $name)),
        }
    };
}

/// Writes the manifest of `P`.
pub const fn write<P: Plugin, const N: usize>(mut json: Json<N>) -> Json<N> {
    json.raw(r#"{"schema":1"#);
    about(&mut json, &P::ABOUT, needs(&P::REQUIRES, P::ROUTES));
    dependencies(&mut json, P::DEPENDS);
    requires(&mut json, &P::REQUIRES);
    provides::<P, N>(&mut json);
    functions::<P, N>(&mut json);
    routes(&mut json, P::ROUTES);
    tasks::<P, N>(&mut json);
    subscriptions::<P, N>(&mut json);
    schedules::<P, N>(&mut json);
    jobs::<P, N>(&mut json);
    migrations(&mut json, P::MIGRATIONS);
    if !P::COMMAND.is_empty() {
        json.text(false, "command", P::COMMAND);
    }
    commands(&mut json, P::COMMANDS);
    hasura(&mut json, P::HASURA);
    json.key(false, "config");
    json.shape(&<P::Config as Schema>::SHAPE);
    json.raw("}");
    json
}

const fn about<const N: usize>(json: &mut Json<N>, about: &About, needs: u32) {
    json.text(false, "id", about.id);
    json.text(false, "version", about.version);
    json.text(false, "description", about.description);
    json.text(false, "license", about.license);
    json.text(false, "homepage", about.homepage);
    json.key(false, "abi");
    json.raw(r#"{"major":"#);
    json.integer(abi::MAJOR as i128);
    json.raw(r#","needs":"#);
    json.integer(needs as i128);
    json.raw(r#"},"build":{"target":""#);
    json.raw(TARGET);
    json.raw(r#"","panic":""#);
    json.raw(if cfg!(panic = "unwind") {
        "unwind"
    } else {
        "abort"
    });
    json.raw(r#"","api":""#);
    json.raw(env!("CARGO_PKG_VERSION"));
    json.raw(r#""}"#);
}

/// The lowest minor whose tables this crate's code calls. It rises only when code that every plugin carries needs more.
pub const NEEDS: u32 = 0;

/// The minor whose table of `nself.call/1` this crate knows: on an older host a plugin that calls others would find none.
const CALLS_NEED: u32 = 2;

/// The minor whose hosts know routes by action: an older one could not read who may call.
const ACTIONS_NEED: u32 = 3;

/// The minor whose hosts provide these, and know servers that the configuration names: an older one has nothing under these ids.
const NEWCOMERS_NEED: u32 = 4;
const NEWCOMERS: [&[u8]; 3] = [b"nself.connect/", b"nself.dump/", b"nself.policy/"];

/// The minor whose hosts have the hub.
const HUB_NEEDS: u32 = 5;
const HUB: &[u8] = b"nself.hub/";

/// The minor whose hosts run programs, and carry messages between them.
const PROCESS_AND_PUBSUB_NEED: u32 = 6;
const PROCESS: &[u8] = b"nself.process/";
const PUBSUB: &[u8] = b"nself.pubsub/";

/// The minor whose table of `nself.tokens/1` this crate knows: on an older host a plugin that reads tokens would find none.
const TOKENS_NEED: u32 = 7;
const TOKENS: &[u8] = b"nself.tokens/";

/// Prefix of capabilities that the host itself provides.
const HOST_CAPABILITY: &[u8] = b"nself.";

/// The lowest minor that serves a plugin which asks for that and has these routes.
pub const fn needs<P>(requires: &Requires, routes: &[Route<P>]) -> u32 {
    if asks_for(requires, TOKENS) {
        return TOKENS_NEED;
    }
    if asks_for(requires, PROCESS) || asks_for(requires, PUBSUB) {
        return PROCESS_AND_PUBSUB_NEED;
    }
    if asks_for(requires, HUB) {
        return HUB_NEEDS;
    }
    if asks_for_newcomers(requires) {
        return NEWCOMERS_NEED;
    }
    if have_actions(routes) {
        return ACTIONS_NEED;
    }
    let mut calls_others = !requires.optional.is_empty();
    let mut at = 0;
    while at < requires.capabilities.len() {
        calls_others |= !begins(requires.capabilities[at].as_bytes(), HOST_CAPABILITY);
        at += 1;
    }
    if calls_others { CALLS_NEED } else { NEEDS }
}

const fn asks_for(requires: &Requires, capability: &[u8]) -> bool {
    let mut at = 0;
    while at < requires.capabilities.len() {
        if begins(requires.capabilities[at].as_bytes(), capability) {
            return true;
        }
        at += 1;
    }
    false
}

const fn asks_for_newcomers(requires: &Requires) -> bool {
    let mut at = 0;
    while at < requires.capabilities.len() {
        if is_newcomer(requires.capabilities[at].as_bytes()) {
            return true;
        }
        at += 1;
    }
    let mut at = 0;
    while at < requires.egress.len() {
        if begins(requires.egress[at].as_bytes(), b"{") {
            return true;
        }
        at += 1;
    }
    false
}

const fn is_newcomer(capability: &[u8]) -> bool {
    let mut at = 0;
    while at < NEWCOMERS.len() {
        if begins(capability, NEWCOMERS[at]) {
            return true;
        }
        at += 1;
    }
    false
}

const fn have_actions<P>(routes: &[Route<P>]) -> bool {
    let mut at = 0;
    while at < routes.len() {
        if matches!(routes[at].access, Access::Action(_)) {
            return true;
        }
        at += 1;
    }
    false
}

const fn begins(text: &[u8], with: &[u8]) -> bool {
    let mut at = 0;
    while at < with.len() && at < text.len() {
        if text[at] != with[at] {
            return false;
        }
        at += 1;
    }
    at == with.len()
}

/// Architecture and system of this build, as the manifest names them.
const TARGET: &str = const {
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        "x86_64-linux"
    } else if cfg!(all(target_arch = "aarch64", target_os = "linux")) {
        "aarch64-linux"
    } else if cfg!(all(target_arch = "aarch64", target_os = "macos")) {
        "aarch64-macos"
    } else if cfg!(all(target_arch = "x86_64", target_os = "macos")) {
        "x86_64-macos"
    } else {
        "unknown"
    }
};

/// Milliseconds; half of 128 bits is enough for any duration.
const fn millis(duration: Duration) -> i128 {
    duration.as_millis().cast_signed()
}

/// Writes `"name":[..]`, each item by the block.
macro_rules! list {
    ($json:ident, $name:literal, $items:expr, |$item:ident| $write:block) => {{
        $json.key(false, $name);
        $json.raw("[");
        let items = $items;
        let mut at = 0;
        while at < items.len() {
            $json.comma(at == 0);
            let $item = &items[at];
            $write
            at += 1;
        }
        $json.raw("]");
    }};
}

const fn dependencies<const N: usize>(json: &mut Json<N>, depends: &[Dependency]) {
    list!(json, "depends", depends, |dependency| {
        json.raw("{");
        json.text(true, "id", dependency.id);
        json.text(false, "version", dependency.version);
        json.raw("}");
    });
}

const fn requires<const N: usize>(json: &mut Json<N>, requires: &Requires) {
    json.key(false, "requires");
    json.raw("{");
    json.key(true, "capabilities");
    json.strings(requires.capabilities);
    json.key(false, "optional");
    json.strings(requires.optional);
    list!(json, "tables", requires.tables, |grant| {
        json.raw("{");
        json.text(true, "table", grant.table);
        json.key(false, "rights");
        json.strings(grant.rights);
        json.raw("}");
    });
    json.key(false, "egress");
    json.strings(requires.egress);
    json.key(false, "secrets");
    json.strings(requires.secrets);
    list!(json, "ports", requires.ports, |port| {
        json.integer(*port as i128);
    });
    json.key(false, "emits");
    json.strings(requires.emits);
    // Left out otherwise: a right that is not asked for.
    if matches!(requires.families, Families::All) {
        json.text(false, "families", "all");
    }
    json.raw("}");
}

const fn provides<P: Plugin, const N: usize>(json: &mut Json<N>) {
    list!(json, "provides", P::PROVIDES, |capability| {
        json.string(capability.id);
    });
}

/// Beside the capabilities, not in them: older hosts read that list as names.
const fn functions<P: Plugin, const N: usize>(json: &mut Json<N>) {
    json.key(false, "functions");
    json.raw("[");
    let (mut at, mut first) = (0, true);
    while at < P::PROVIDES.len() {
        let capability = &P::PROVIDES[at];
        let mut function = 0;
        while function < capability.functions.len() {
            json.comma(first);
            json.raw("{");
            json.text(true, "capability", capability.id);
            json.text(false, "signature", capability.functions[function]);
            json.raw("}");
            first = false;
            function += 1;
        }
        at += 1;
    }
    json.raw("]");
}

const fn routes<P, const N: usize>(json: &mut Json<N>, routes: &[Route<P>]) {
    list!(json, "routes", routes, |route| {
        json.raw("{");
        json.text(true, "method", route.method);
        json.text(false, "path", route.path);
        json.text(false, "summary", route.summary);
        json.text(false, "kind", route.kind);
        access(json, &route.access);
        if let Some(bytes) = route.body_bytes_max {
            json.optional("body_bytes_max", Some(bytes as i128));
        }
        if let Some(timeout) = route.timeout {
            json.optional("timeout_ms", Some(millis(timeout)));
        }
        if let Some(rate) = route.rate_per_minute {
            json.optional("rate_per_minute", Some(rate as i128));
        }
        if let Some(shape) = route.params {
            json.key(false, "params");
            json.shape(shape);
        }
        if let Some(shape) = route.request {
            json.key(false, "request");
            json.shape(shape);
        }
        if let Some(shape) = route.query {
            json.key(false, "query");
            json.shape(shape);
        }
        if let Some(shape) = route.response {
            json.key(false, "response");
            json.shape(shape);
        }
        // Left out otherwise, and passed over by older hosts: without GraphQL the route is what it was.
        if !route.graphql.is_empty() {
            json.text(false, "graphql", route.graphql);
        }
        json.raw("}");
    });
}

const fn access<const N: usize>(json: &mut Json<N>, access: &Access) {
    match access {
        // Left out: the host reads a route without access as an error in the manifest.
        Access::Unstated => {}
        Access::Public => json.text(false, "access", "public"),
        Access::Authenticated => json.text(false, "access", "authenticated"),
        Access::Operator => json.text(false, "access", "operator"),
        Access::Service(scope) => {
            json.key(false, "access");
            json.raw("{");
            json.text(true, "service", scope);
            json.raw("}");
        }
        Access::Action(action) => {
            json.key(false, "access");
            json.raw("{");
            json.text(true, "action", action);
            json.raw("}");
        }
        Access::Roles(roles) => {
            json.key(false, "access");
            json.raw(r#"{"roles":["#);
            let mut at = 0;
            while at < roles.len() {
                json.comma(at == 0);
                json.string(roles[at].name());
                at += 1;
            }
            json.raw("]}");
        }
    }
}

const fn tasks<P: Plugin, const N: usize>(json: &mut Json<N>) {
    list!(json, "tasks", P::TASKS, |task| {
        json.raw("{");
        json.text(true, "name", task.name);
        json.optional("every_ms", Some(millis(task.every)));
        json.key(false, "singleton");
        json.raw(if task.singleton { "true}" } else { "false}" });
    });
}

const fn subscriptions<P: Plugin, const N: usize>(json: &mut Json<N>) {
    list!(json, "subscriptions", P::SUBSCRIPTIONS, |subscription| {
        json.raw("{");
        json.text(true, "name", subscription.name);
        json.key(false, "types");
        json.strings(subscription.types);
        json.raw("}");
    });
}

const fn schedules<P: Plugin, const N: usize>(json: &mut Json<N>) {
    list!(json, "schedules", P::SCHEDULES, |schedule| {
        json.raw("{");
        json.text(true, "name", schedule.name);
        json.text(false, "cron", schedule.cron);
        json.text(false, "timezone", schedule.timezone);
        json.raw("}");
    });
}

const fn jobs<P: Plugin, const N: usize>(json: &mut Json<N>) {
    list!(json, "jobs", P::JOBS, |job| {
        json.raw("{");
        json.text(true, "kind", job.kind);
        if let Some(queue) = job.queue {
            json.text(false, "queue", queue);
        }
        if let Some(attempts) = job.attempts_max {
            json.optional("attempts_max", Some(attempts as i128));
        }
        if let Some(timeout) = job.timeout {
            json.optional("timeout_ms", Some(millis(timeout)));
        }
        if let Some(keep) = job.keep {
            json.text(false, "keep", keep.name());
        }
        json.raw("}");
    });
}

const fn migrations<const N: usize>(json: &mut Json<N>, migrations: &[Migration]) {
    list!(json, "migrations", migrations, |migration| {
        json.raw(r#"{"number":"#);
        json.integer(migration.number() as i128);
        json.text(false, "name", migration.name());
        json.text(false, "up", migration.up);
        json.text(false, "down", migration.down);
        json.raw("}");
    });
}

const fn commands<const N: usize>(json: &mut Json<N>, commands: &[Command]) {
    list!(json, "commands", commands, |command| {
        json.raw("{");
        json.text(true, "name", command.name);
        json.text(false, "summary", command.summary);
        json.text(false, "method", command.method);
        json.text(false, "path", command.path);
        if let Some(body) = command.body {
            json.key(false, "body");
            json.raw(body);
        }
        list!(json, "arguments", command.arguments, |argument| {
            json.raw("{");
            json.text(true, "name", argument.name);
            json.text(false, "summary", argument.summary);
            json.text(false, "kind", argument.kind);
            json.key(false, "required");
            json.raw(if argument.required { "true}" } else { "false}" });
        });
        json.text(false, "rows", command.rows);
        list!(json, "columns", command.columns, |column| {
            json.raw("{");
            json.text(true, "head", column.0);
            json.text(false, "cell", column.1);
            json.raw("}");
        });
        json.text(false, "confirm", command.confirm);
        if command.is_tail {
            json.raw(r#","is_tail":true"#);
        }
        json.raw("}");
    });
}

const fn hasura<const N: usize>(json: &mut Json<N>, fragments: &[HasuraFragment]) {
    list!(json, "hasura", fragments, |fragment| {
        json.raw("{");
        json.text(true, "name", fragment.name);
        json.text(false, "yaml", fragment.yaml);
        json.raw("}");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_needs(requires: &Requires, expected: u32) {
        assert_eq!(needs::<()>(requires, &[]), expected, "{requires:?}");
    }

    #[test]
    fn a_plugin_needs_the_oldest_host_that_has_what_it_asks_for() {
        let capabilities = |capabilities| Requires {
            capabilities,
            ..Requires::NOTHING
        };
        check_needs(&Requires::NOTHING, 0);
        check_needs(&capabilities(&["nself.db/1", "nself.http/1"]), 0);
        check_needs(&capabilities(&["nself.db/1", "mail.send/1"]), 2);
        check_needs(&capabilities(&["mail.send/1", "nself.connect/1"]), 4);
        check_needs(&capabilities(&["nself.policy/1", "nself.hub/1"]), 5);
        check_needs(&capabilities(&["nself.hub/1", "nself.process/1"]), 6);
        check_needs(&capabilities(&["nself.hub/1", "nself.pubsub/1"]), 6);
        check_needs(&capabilities(&["nself.pubsub/1", "nself.tokens/1"]), 7);
        let configured = Requires {
            egress: &["example.org", "{smtp_host}:25"],
            ..Requires::NOTHING
        };
        check_needs(&configured, 4);
    }
}
