//! Calls a capability that another plugin provides.
#![forbid(unsafe_code)]

use nself_plugin_api::prelude::*;

/// The plugin; it has no state.
pub struct Caller;

impl Plugin for Caller {
    const ABOUT: About = about!("fixture-caller");

    const REQUIRES: Requires = Requires {
        capabilities: &["fixture.echo/1"],
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
    ];

    type Config = NoConfig;

    async fn create(_: Context, _: NoConfig) -> Result<Self> {
        Ok(Self)
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

fn http_ok() -> nself_plugin_api::http::StatusCode {
    nself_plugin_api::http::StatusCode::OK
}

export_plugin!(Caller);
