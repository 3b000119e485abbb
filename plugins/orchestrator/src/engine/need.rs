//! What a workflow needs from outside, and what came of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Error;

/// Names a need within its instance; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NeedId(pub u64);

/// Something that only the outside can do.
///
/// Requests may hold secrets, so a need is not serialisable: it is never kept. Whoever has lost it (a crash, another host) gets
/// it again from [`super::Program::needs`].
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// Call something. Answer: [`Outcome::Response`] for `Http` and `OpenApi`, [`Outcome::Completed`] for `Function`,
    /// [`Outcome::Failed`] when it failed.
    Call(Call),
    /// Wake it then. Answer: [`Outcome::Fired`].
    Timer {
        /// When.
        at: Timestamp,
    },
    /// Hand over events that may match. Answer: [`Outcome::Event`] for each, as long as it is open.
    Event(Subscription),
    /// Publish an event. Answer: [`Outcome::Done`] once it is certain to be published.
    Emit(Emit),
    /// Run something. Answer: [`Outcome::Completed`], or [`Outcome::Done`] at the start when it is not awaited.
    Run(Run),
}

/// A call.
#[derive(Clone, PartialEq)]
pub struct Call {
    /// The same on every retry and after every crash, another for every task, iteration and instance.
    pub key: String,
    /// The task, as a JSON pointer.
    pub task: String,
    /// What is called.
    pub kind: CallKind,
}

/// What is called.
#[derive(Clone, PartialEq)]
pub enum CallKind {
    /// An HTTP request.
    Http(HttpCall),
    /// An operation of an OpenAPI document; [`super::resolve`] makes an HTTP request of it and of the document.
    OpenApi(OpenApiCall),
    /// A function of a catalog: a capability of a plugin, a job, or a document elsewhere.
    Function(FunctionCall),
}

/// An HTTP request, ready to be sent.
#[derive(Clone, PartialEq)]
pub struct HttpCall {
    /// In upper case.
    pub method: String,
    /// The whole URI without what `query` adds.
    pub endpoint: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Query parameters to be added.
    pub query: BTreeMap<String, String>,
    /// JSON to be sent; a text is sent as it is when a header names a content type that is not JSON.
    pub body: Option<Value>,
    /// What becomes the task's output.
    pub output: HttpOutput,
    /// Whether the statuses from 300 to 399 are good. Redirects are not followed.
    pub redirect: bool,
    /// How the task proves who it is.
    pub authentication: Option<Authentication>,
}

/// What becomes the output of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpOutput {
    /// The body in base64.
    Raw,
    /// The body, read by its content type.
    #[default]
    Content,
    /// Request, status, headers and content.
    Response,
}

/// Stands in a request for `$authorization.parameter` where only the driver knows it: a token that is granted, the answer to a
/// challenge. The driver puts that in its place. It is a mark like those of secrets, so that nothing from outside can bring it.
pub const PROOF: &str = "\u{27e6}secret:$authorization\u{27e7}";

/// How a call proves who it is.
#[derive(Clone, PartialEq)]
pub enum Authentication {
    /// HTTP basic.
    Basic {
        /// Who.
        username: String,
        /// The proof.
        password: String,
    },
    /// A token.
    Bearer {
        /// The proof.
        token: String,
    },
    /// HTTP digest.
    Digest {
        /// Who.
        username: String,
        /// The proof.
        password: String,
    },
    /// OAuth 2: the standard's fields, resolved.
    OAuth2(Value),
    /// `OpenID` Connect: the standard's fields, resolved.
    Oidc(Value),
}

/// An operation of an OpenAPI document.
#[derive(Clone, PartialEq)]
pub struct OpenApiCall {
    /// Where the document is.
    pub document: String,
    /// How the document is asked for.
    pub document_authentication: Option<Authentication>,
    /// The operation.
    pub operation: String,
    /// Its parameters by name; `body` is the request's body.
    pub parameters: BTreeMap<String, Value>,
    /// How the call proves who it is.
    pub authentication: Option<Authentication>,
    /// What becomes the task's output.
    pub output: HttpOutput,
    /// Whether the statuses from 300 to 399 are good.
    pub redirect: bool,
}

/// A function that the definition does not hold.
#[derive(Clone, PartialEq)]
pub struct FunctionCall {
    /// The name, or the URI of a function's document.
    pub name: String,
    /// The version of `name:version@catalog`.
    pub version: Option<String>,
    /// The catalog; `default` is the host's own.
    pub catalog: Option<String>,
    /// The catalog's endpoint when the definition names one.
    pub endpoint: Option<Value>,
    /// Its arguments.
    pub arguments: Value,
}

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Emit {
    /// The same on every retry and after every crash.
    pub key: String,
    /// The `CloudEvent`, in structured form.
    pub event: Value,
}

/// Events that a workflow waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// What an event's literal attributes must be, one map for each filter: an event that fits none need not be handed over.
    /// The engine looks at data, expressions and correlation itself. Empty: every event may be meant.
    pub filters: Vec<BTreeMap<String, String>>,
}

/// Something to be run.
#[derive(Clone, PartialEq)]
pub struct Run {
    /// The same on every retry and after every crash.
    pub key: String,
    /// The task, as a JSON pointer.
    pub task: String,
    /// Whether the task waits for the end.
    pub awaited: bool,
    /// What of a process the task wants: who wants neither its code nor all of it takes one that failed for a fault.
    pub returns: Return,
    /// What is run.
    pub process: Process,
}

/// What is run.
#[derive(Clone, PartialEq)]
pub enum Process {
    /// Another workflow; [`Outcome::Completed`] holds its output.
    Workflow(WorkflowRun),
    /// A shell command: the standard's fields, resolved. [`Outcome::Completed`] holds `code`, `stdout` and `stderr`.
    Shell(Value),
    /// A script, likewise.
    Script(ScriptRun),
    /// A container, likewise, with the name that it has unless its task gives it one.
    Container(Value),
}

/// A script to be run.
#[derive(Clone, PartialEq)]
pub struct ScriptRun {
    /// The standard's fields but its text, resolved.
    pub fields: Value,
    /// Its text.
    pub text: ScriptText,
}

/// The text of a script.
#[derive(Clone, PartialEq)]
pub enum ScriptText {
    /// It stands in the definition.
    Inline(String),
    /// It is at this place.
    At {
        /// Where.
        uri: String,
        /// How it is asked for.
        authentication: Option<Authentication>,
    },
}

/// Another workflow to be run.
#[derive(Clone, PartialEq)]
pub struct WorkflowRun {
    /// Where it belongs.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its version, or `latest`.
    pub version: String,
    /// Its input.
    pub input: Value,
}

/// What of a process becomes the task's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Return {
    /// What it wrote.
    #[default]
    Stdout,
    /// What it complained.
    Stderr,
    /// Its exit code.
    Code,
    /// All of these.
    All,
    /// Nothing.
    None,
}

/// What came of a need.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done, with this result.
    Completed(Value),
    /// It is done, or certain to be.
    Done,
    /// The other side answered.
    Response(Response),
    /// The timer fired.
    Fired,
    /// An event came, in structured form.
    Event(Value),
    /// It failed.
    Failed(Error),
}

/// What the other side of an HTTP request answered, good or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The request's method.
    pub method: String,
    /// The request's URI, without anything secret.
    pub uri: String,
    /// The request's headers, without anything secret.
    pub request_headers: BTreeMap<String, String>,
    /// The status.
    pub status: u16,
    /// The headers; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Requests may hold secrets: what is shown of them names the task and nothing else.
macro_rules! shown_without_content {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

shown_without_content!(
    Call,
    CallKind,
    HttpCall,
    Authentication,
    OpenApiCall,
    FunctionCall,
    Run,
    Process,
    ScriptRun,
    ScriptText,
    WorkflowRun
);
