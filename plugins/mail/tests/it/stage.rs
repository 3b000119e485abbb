//! What the tests have in common: a host with the plugin, and calls of its capability.

use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually, within};
use serde_json::{Value, json};

/// The catcher's SMTP on a free port: tests run beside each other.
pub(crate) const ANY_PORT: &str = "[plugins.mail.listen]\n1025 = 0\n";

pub(crate) fn builder() -> TestHostBuilder {
    TestHost::builder()
        .plugin("nself-plugin-mail")
        .config(ANY_PORT)
}

/// A host that catches mails.
pub(crate) async fn catching() -> TestHost {
    builder().start().await
}

/// A host that sends mails to a server on that port of this machine.
pub(crate) fn sending_to(port: u16) -> TestHostBuilder {
    builder().config(&format!(
        "[plugins.mail.config]\ndelivery = \"smtp\"\nsmtp_host = \"127.0.0.1\"\nsmtp_port = {port}\n\
         smtp_tls = \"none\"\nsmtp_timeout_seconds = 5\nfrom = \"Us <us@example.org>\"\n"
    ))
}

/// A refusal of the capability.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: u32,
    pub code: String,
    pub message: String,
    pub details: Value,
}

/// Calls `mail.send/1` as another plugin does.
pub(crate) async fn call(host: &TestHost, method: &str, payload: &Value) -> Result<Value, Refusal> {
    let running = host.running("mail").await;
    let payload = payload.to_string().into();
    let answer = running.instance().call(0, method.into(), payload);
    match within(method, answer).await {
        Ok(answer) => Ok(serde_json::from_slice(answer.as_slice()).expect("an answer is JSON")),
        Err(error) => Err(Refusal {
            status: error.status,
            code: error.code.to_text(),
            message: error.message.to_text(),
            details: serde_json::from_slice(error.details.as_slice()).unwrap_or_default(),
        }),
    }
}

/// Sends a mail; its id and what became of it.
#[track_caller]
pub(crate) fn send<'a>(
    host: &'a TestHost,
    payload: &'a Value,
) -> impl Future<Output = (String, String)> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let receipt = call(host, "send", payload).await;
        let receipt = receipt.unwrap_or_else(|refusal| panic!("{caller}: {refusal:?}"));
        let text = |key: &str| receipt[key].as_str().unwrap_or_default().to_owned();
        (text("id"), text("status"))
    }
}

/// A mail without a template.
pub(crate) fn plain(to: &str) -> Value {
    json!({"to": to, "subject": "Hello", "text": "A text."})
}

/// Where a mail is in its life.
pub(crate) async fn progress(host: &TestHost, id: &str) -> Value {
    let progress = call(host, "status", &json!({"id": id})).await;
    progress.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// Waits until a mail is in that state.
pub(crate) async fn reaches(host: &TestHost, id: &str, state: &str) -> Value {
    eventually(&format!("{id} being {state}"), async || {
        let progress = progress(host, id).await;
        (progress["status"] == state).then_some(progress)
    })
    .await
}

/// Waits until an attempt has failed with that in its reason, and the mail waits for the next one.
pub(crate) async fn is_put_off(host: &TestHost, id: &str, reason: &str) -> Value {
    eventually(&format!("{id} being put off for {reason:?}"), async || {
        let progress = progress(host, id).await;
        let error = progress["last_error"].as_str();
        let is_put_off =
            progress["status"] == "queued" && error.is_some_and(|error| error.contains(reason));
        is_put_off.then_some(progress)
    })
    .await
}

/// The caught mails, newest first, once there are so many.
pub(crate) async fn caught(host: &TestHost, count: usize) -> Vec<Value> {
    eventually(&format!("{count} caught mails"), async || {
        let page = host.get("/api/v2/messages").send().await.expect_status(200);
        let page = page.json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        (items.len() == count).then_some(items)
    })
    .await
}

/// The catcher's SMTP port.
pub(crate) async fn smtp_port(host: &TestHost) -> u16 {
    let status = host.get("/mail/status").operator().send().await;
    let port = status.expect_status(200).data()["catcher_smtp_port"].as_u64();
    let port = port.expect("the catcher listens");
    u16::try_from(port).expect("a port")
}

/// A metric of the plugin.
pub(crate) async fn metric(host: &TestHost, name: &str) -> f64 {
    host.metric(&format!("nself_mail_{name}{{plugin=\"mail\"}}"))
        .await
}
