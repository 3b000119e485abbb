//! Calls a capability that another plugin provides and the SQL functions that come with it; works jobs.
#![forbid(unsafe_code)]

mod jobs;
mod store;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nself_plugin_api::{
    capability::pubsub::Heard,
    futures_util::{Stream, StreamExt},
    prelude::*,
};

/// The plugin.
pub struct Caller {
    /// Jobs that ended, or were dropped before that.
    dropped: Arc<AtomicU64>,
}

impl Plugin for Caller {
    const ABOUT: About = about!("fixture-caller");

    const REQUIRES: Requires = Requires {
        capabilities: &["fixture.echo/1", "nself.db/1", "nself.pubsub/1"],
        optional: &["fixture.more/1"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/caller/{method}", call)
            .public()
            .summary("Call fixture.echo/1"),
        Route::get("/caller/optional/{name}/{revision}", optional)
            .public()
            .summary("Call what another plugin may provide"),
        Route::get("/caller/not-granted", not_granted)
            .public()
            .summary("Call what was not asked for"),
        Route::post("/caller/messages/{channel}", publish)
            .public()
            .summary("Publish to all hosts"),
        Route::get("/caller/messages/{channel}", hear)
            .public()
            .summary("What is published"),
        Route::get("/caller/dropped", dropped)
            .public()
            .summary("Jobs of fixture-caller.wait that are over"),
    ];

    const JOBS: &'static [Job<Self>] = &[
        Job::new("fixture-caller.add", jobs::add)
            .queue("sums")
            .attempts_max(5)
            .timeout(Duration::from_secs(30))
            .keep(Keep::Failed),
        Job::new("fixture-caller.nothing", jobs::nothing),
        Job::new("fixture-caller.tell", jobs::tell),
        Job::new("fixture-caller.fail", jobs::fail),
        Job::new("fixture-caller.wait", jobs::wait),
    ];

    const SCHEDULES: &'static [Schedule<Self>] =
        &[Schedule::new("tick", "*/5 * * * *", jobs::tick).timezone("Europe/Berlin")];

    type Config = NoConfig;

    async fn create(_: Context, _: NoConfig) -> Result<Self> {
        Ok(Self {
            dropped: Arc::default(),
        })
    }
}

async fn call(cx: Cx<Caller>, Path(method): Path<String>, Body(payload): Body) -> Result<Response> {
    let answer = cx.calls().call("fixture.echo/1", &method, payload).await?;
    Ok(Response::new(http_ok(), answer))
}

/// What `version` of the capability answers; null where nobody provides it.
async fn optional(
    cx: Cx<Caller>,
    Path((name, revision)): Path<(String, String)>,
) -> Result<Data<Option<String>>> {
    let capability = format!("{name}/{revision}");
    let answer = cx
        .calls()
        .json_if_provided(&capability, "version", &())
        .await?;
    Ok(Data(answer))
}

async fn not_granted(cx: Cx<Caller>) -> Result<NoContent> {
    cx.calls().call("mail.send/1", "send", "").await?;
    Ok(NoContent)
}

async fn publish(
    cx: Cx<Caller>,
    Path(channel): Path<String>,
    Body(message): Body,
) -> Result<NoContent> {
    cx.pubsub().publish(&channel, message).await?;
    Ok(NoContent)
}

async fn hear(
    cx: Cx<Caller>,
    Path(channel): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<SseEvent>> + Send + 'static>> {
    let heard = cx.pubsub().subscribe(&[&channel]).await?;
    Ok(Sse(heard.map(|heard| {
        Ok(match heard? {
            Heard::Message { message, .. } => SseEvent::data(&String::from_utf8_lossy(&message)),
            Heard::Missed => SseEvent::data("").event("missed"),
        })
    })))
}

async fn dropped(cx: Cx<Caller>) -> Result<Data<u64>> {
    Ok(Data(cx.plugin().dropped.load(Ordering::SeqCst)))
}

fn http_ok() -> nself_plugin_api::http::StatusCode {
    nself_plugin_api::http::StatusCode::OK
}

export_plugin!(Caller);
