//! The foreign provider: the real `oidc-provider`, in a process of its own.

use std::process::Stdio;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nself_plugin_testkit::{node_scripts, within};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

/// Where an installation is, if its tests do not say.
const HOME: &str = "http://localhost:3000";

/// Where it takes the answers of the places that tests configure.
const CALLBACKS: [&str; 4] = [
    "/auth/oauth/place/callback",
    "/auth/oauth/other/callback",
    "/signin/provider/place/callback",
    "/signin/provider/other/callback",
];

/// A running provider; it ends with this.
pub(super) struct Place {
    pub(super) issuer: String,
    _process: Child,
    /// A process whose output nobody takes ends at its next word.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Place {
    pub(super) async fn open() -> Self {
        Self::of(HOME).await
    }

    /// For an installation at another address.
    pub(super) async fn of(home: &str) -> Self {
        let callbacks = CALLBACKS.map(|path| format!("{home}{path}"));
        let callbacks = callbacks.each_ref().map(String::as_str);
        Self::run("provider.mjs", &callbacks, &[]).await
    }

    /// Runs a script, which says where it is and goes on.
    pub(super) async fn run(script: &str, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let scripts = node_scripts!("tests/provider").await;
        let mut command = scripts.script(script);
        command.args(words).envs(variables.iter().copied());
        let mut process = scripts.start(command.stderr(Stdio::null()));
        let output = process.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let issuer = within("the foreign provider starts", lines.next_line()).await;
        let issuer = issuer.expect("it is heard").expect("it says where it is");
        Self {
            issuer,
            _process: process,
            _output: lines,
        }
    }

    /// Changes what it knows of a person.
    pub(super) async fn change(&self, subject: &str, person: &Value) {
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let request = Request::put(format!("{}/people/{subject}", self.issuer));
        let request = request.body(Full::from(person.to_string()));
        let answer = client.request(request.expect("a request")).await;
        assert!(answer.expect("it answers").status().is_success());
    }

    /// Configuration of a place of this name.
    pub(super) fn configured(&self, slug: &str, more: &str) -> String {
        format!(
            "[plugins.auth.config.providers.{slug}]\nissuer = \"{}\"\nclient_id = \"nself\"\n{more}\n",
            self.issuer
        )
    }
}
