//! The manifest as the host reads it: the JSON in a plugin's `.note.nself`, parsed without running the plugin.
//!
//! `plugin-api` writes the same document at compile time from the constants of the author's `Plugin` impl
//! (`plugin-api/src/manifest.rs`); a test there and the loader's tests here hold the two together.

mod schema;

use nself_plugin_api::abi::capability::identity::Identity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use schema::Schema;

/// Everything a plugin declares. Unknown keys are kept out of the way: an old host reads a newer manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document's shape; 1 today.
    pub schema: u32,
    /// The plugin's id: lower-case words joined by `-` or `_`, also its Postgres schema.
    pub id: String,
    /// The plugin's own version.
    pub version: semver::Version,
    /// One sentence for people.
    pub description: String,
    /// SPDX expression, empty when unstated.
    #[serde(default)]
    pub license: String,
    /// Address of the plugin's page, empty when unstated.
    #[serde(default)]
    pub homepage: String,
    /// The boundary that it was built against.
    pub abi: Abi,
    /// How it was built.
    pub build: Build,
    /// Plugins that must run before this one.
    #[serde(default)]
    pub depends: Vec<Dependency>,
    /// Host capabilities that it asks for, with their scope.
    #[serde(default)]
    pub requires: Requires,
    /// Capabilities that it offers to other plugins, such as `mail.send/1`.
    #[serde(default)]
    pub provides: Vec<String>,
    /// SQL functions that come with the offered capabilities.
    #[serde(default)]
    pub functions: Vec<ProvidedFunction>,
    /// HTTP routes, in the order of their numbers.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Background tasks, in the order of their numbers.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// Event subscriptions, in the order of their numbers.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// Cron schedules that the plugin asks a scheduler to run, in the order of their numbers.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    /// Kinds of jobs that it works, in the order of their numbers.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Migrations of the plugin's own schema, ascending.
    #[serde(default)]
    pub migrations: Vec<Migration>,
    /// What its commands are called under; its id when empty.
    #[serde(default)]
    pub command: String,
    /// Commands of the command line, `nself <id> <name>`.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Hasura metadata fragments: file name and YAML text.
    #[serde(default)]
    pub hasura: Vec<HasuraFragment>,
    /// JSON Schema of the configuration table `[plugins.<id>.config]`.
    #[serde(default)]
    pub config: Value,
}

/// The ABI numbers in the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abi {
    /// Must equal the host's.
    pub major: u32,
    /// The lowest minor whose tables the plugin uses; must not exceed the host's.
    pub needs: u32,
}

/// Facts of the build that decide whether the host may load it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Build {
    /// Target triple's architecture and system, such as `x86_64-linux`.
    pub target: String,
    /// `unwind` or `abort`; the host refuses `abort`.
    pub panic: String,
    /// Version of `nself-plugin-api` that it was built with: for people.
    pub api: String,
}

/// A plugin that must run before this one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dependency {
    /// Its id.
    pub id: String,
    /// Versions that serve.
    pub version: semver::VersionReq,
}

/// What a plugin may reach once the operator has accepted it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requires {
    /// Capability ids such as `nself.db/1` or `mail.send/1`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Capabilities of other plugins that it uses where they are provided. It starts and runs without them.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Tables outside its own schema, as `schema.table` and the rights on it.
    #[serde(default)]
    pub tables: Vec<TableGrant>,
    /// Hosts that `nself.http/1` and `nself.connect/1` may reach: `api.example.org`, `*.example.org`, `10.0.0.0/8`, `*` for every
    /// public host, or `{smtp_host}:{smtp_port}` for the one that these keys of the plugin's configuration name.
    #[serde(default)]
    pub egress: Vec<String>,
    /// Names of secrets that `nself.secrets/1` hands out.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// TCP ports that `nself.listen/1` may bind.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Event types that it emits, `family.*` style patterns.
    #[serde(default)]
    pub emits: Vec<String>,
    /// Whose rows of the shared tables it works on. Stored with the grants, where the database reads it.
    #[serde(default, skip_serializing_if = "Families::is_active")]
    pub families: Families,
}

/// Whose rows of the shared tables a plugin reads and writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Families {
    /// Those of the family in whose name a request comes.
    #[default]
    Active,
    /// Those of every family.
    All,
}

impl Families {
    /// What asking for every family means, for operators.
    pub const ALL_SHOWN: &'static str = "reads and writes every family's rows";

    /// Whether nothing beyond the active family is asked for.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// Whether only one plugin at a time may have this capability of the host: two identity providers would each take the
/// other's keys away.
pub fn is_exclusive(capability: &str) -> bool {
    capability == Identity::ID
}

impl Requires {
    /// Every capability that it may use, provided or not.
    pub fn usable(&self) -> impl Iterator<Item = &str> {
        let all = self.capabilities.iter().chain(&self.optional);
        all.map(String::as_str)
    }

    /// What an operator is told of when it is granted: the capabilities, and whether families are no border.
    pub fn shown(&self) -> Vec<String> {
        let families = (!self.families.is_active()).then_some(Families::ALL_SHOWN);
        self.usable().chain(families).map(str::to_owned).collect()
    }
}

/// Rights on one table of another schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableGrant {
    /// `schema.table`.
    pub table: String,
    /// Any of `select`, `insert`, `update`, `delete`, `references`.
    pub rights: Vec<String>,
}

/// A SQL function that comes with an offered capability: whoever is granted that may call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvidedFunction {
    /// One of the offered capabilities.
    pub capability: String,
    /// A function of the plugin's schema with the types of its arguments: `jobs.enqueue(text,jsonb)`.
    pub signature: String,
}

/// One HTTP route.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Route {
    /// Upper-case HTTP method.
    pub method: String,
    /// Absolute path with `{name}` and `{*rest}` segments.
    pub path: String,
    /// Who may call.
    pub access: Access,
    /// One line for the API reference.
    #[serde(default)]
    pub summary: String,
    /// Largest request body; the host's default when absent.
    #[serde(default)]
    pub body_bytes_max: Option<u64>,
    /// Time for the handler to answer; the host's default when absent.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Requests per minute and caller; the host's default when absent.
    #[serde(default)]
    pub rate_per_minute: Option<u32>,
    /// JSON Schema of the path's parameters, if the handler reads them: of the only one, of a list by position, or of an
    /// object by name. [`Route::param`] tells them apart.
    #[serde(default)]
    pub params: Option<Schema>,
    /// JSON Schema of the request body, if it has one.
    #[serde(default)]
    pub request: Option<Schema>,
    /// JSON Schema of the query string's object, if it has one.
    #[serde(default)]
    pub query: Option<Schema>,
    /// JSON Schema of `data` in the answer, if it has one.
    #[serde(default)]
    pub response: Option<Schema>,
    /// `json`, `stream`, `sse`, `websocket` or `raw`.
    #[serde(default = "json_kind")]
    pub kind: String,
    /// What the root field of GraphQL is called after the plugin's id, if there is one for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graphql: Option<String>,
}

impl Route {
    /// JSON Schema of the path's parameter with this name, the `position`th of the path. A plugin may state none.
    pub fn param(&self, position: usize, name: &str) -> Option<Value> {
        let params = self.params.as_ref()?.read();
        match (params.get("prefixItems"), params.get("properties")) {
            (Some(list), _) => list.get(position).cloned(),
            (_, Some(named)) => named.get(name).cloned(),
            _ => Some(params),
        }
    }
}

fn json_kind() -> String {
    "json".to_owned()
}

/// Who may call a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Any authenticated principal.
    Authenticated,
    /// A principal whose role in its active family is one of these.
    Roles(Vec<Role>),
    /// A principal whose role may do this by the policy.
    Action(String),
    /// A service token or API key that carries this scope.
    Service(String),
    /// An operator: an API key or the control socket.
    Operator,
}

/// A role in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
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

/// A background task: host-driven, no input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Unique within the plugin.
    pub name: String,
    /// Pause between two runs.
    pub every_ms: u64,
    /// One run at a time over all replicas.
    #[serde(default)]
    pub singleton: bool,
}

/// A subscription to the event log with a durable cursor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subscription {
    /// Names the cursor; unique within the plugin.
    pub name: String,
    /// Event types, `family.*` style patterns.
    pub types: Vec<String>,
}

/// A cron schedule that the plugin brings along.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schedule {
    /// Unique within the plugin.
    pub name: String,
    /// Five or six field cron expression.
    pub cron: String,
    /// IANA time zone.
    pub timezone: String,
}

/// A kind of job. What is not there is left to the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The plugin's id, a dot, and what the work is: `photos.resize`.
    pub kind: String,
    /// The queue that its jobs wait in.
    #[serde(default)]
    pub queue: Option<String>,
    /// Attempts before a job is given up.
    #[serde(default)]
    pub attempts_max: Option<u32>,
    /// Time for one attempt.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Which finished jobs stay to be looked at.
    #[serde(default)]
    pub keep: Option<Keep>,
}

/// Which finished jobs stay to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// None.
    None,
    /// Those that were given up.
    Failed,
    /// All of them.
    All,
}

/// One step of the plugin's schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Migration {
    /// Ascending, gapless from 1.
    pub number: u32,
    /// Words of the file name after the number.
    pub name: String,
    /// SQL forward.
    pub up: String,
    /// SQL back.
    pub down: String,
}

/// A piece of Hasura metadata that belongs to the plugin's tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HasuraFragment {
    /// File name, such as `notes.yaml`.
    pub name: String,
    /// YAML text.
    pub yaml: String,
}

/// A command of the command line: one request to one of the plugin's routes that operators may call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// Up to four words.
    pub name: String,
    /// One line for the help.
    #[serde(default)]
    pub summary: String,
    /// The route's method.
    pub method: String,
    /// The route's path.
    pub path: String,
    /// Fields that the body always has.
    #[serde(default)]
    pub body: Option<serde_json::Map<String, Value>>,
    /// What stands after the name.
    #[serde(default)]
    pub arguments: Vec<Argument>,
    /// Where in the answer the rows are; empty when it is the list itself.
    #[serde(default)]
    pub rows: String,
    /// Columns of the table; without any every field has a line of its own.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// What is asked before; empty for nothing.
    #[serde(default)]
    pub confirm: String,
    /// The answer is a stream of events, printed as they come.
    #[serde(default)]
    pub is_tail: bool,
}

impl Command {
    /// Whether an argument stands in the path.
    pub fn is_in_path(&self, argument: &Argument) -> bool {
        let place = format!("{{{}}}", argument.name);
        self.path.split('/').any(|segment| segment == place)
    }

    /// The argument that is the whole body.
    pub fn file(&self) -> Option<&Argument> {
        self.arguments
            .iter()
            .find(|argument| argument.kind == ArgumentKind::File)
    }

    /// Whether arguments become fields of a JSON body.
    pub fn has_body(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "DELETE") && self.file().is_none()
    }
}

/// An argument of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Argument {
    /// Its name, also in the path, the query or the body.
    pub name: String,
    /// One line for the help.
    #[serde(default)]
    pub summary: String,
    /// What it is.
    pub kind: ArgumentKind,
    /// Whether the command makes no sense without it.
    #[serde(default)]
    pub required: bool,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArgumentKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// There or not.
    Flag,
    /// JSON, or `@` and a file that holds it.
    Json,
    /// A file that becomes the body.
    File,
}

/// A column of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// Its head.
    pub head: String,
    /// Where in a row its cells are: names of fields, joined by dots.
    pub cell: String,
}
