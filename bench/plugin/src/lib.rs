//! The handlers that the benchmarks measure through the boundary; each has its twin in the benchmark's own program.
//!
//! The id is written `bench00` everywhere and nowhere put together, so that a copy of the file with other digits is
//! another plugin: that is how the benchmark gets many of them.
#![forbid(unsafe_code)]

mod items;
mod jobs;
mod load;
mod measure;

use nself_plugin_api::{
    capability::hub::{Policy, Topic},
    extract::{Extract, Request},
    http::{HeaderName, HeaderValue, StatusCode},
    prelude::*,
};

/// The plugin; it keeps count of its jobs.
pub struct Bench {
    ledger: jobs::Ledger,
    /// Everybody who is connected; none where loading alone is measured, by a host that offers nothing.
    audience: Option<Topic>,
}

impl Plugin for Bench {
    const ABOUT: About = about!("bench00");

    const REQUIRES: Requires = Requires {
        capabilities: &["nself.db/1", "nself.hub/1"],
        ..Requires::NOTHING
    };

    const ROUTES: &'static [Route<Self>] = &[
        Route::post("/bench00/echo", echo).public(),
        Route::get("/bench00/socket", load::socket).public(),
        Route::get("/bench00/fan", load::fan).public(),
        Route::get("/bench00/stream", load::stream).public(),
        Route::get("/bench00/panic", load::fail).public(),
        Route::get("/bench00/item/{id}", items::one).public(),
        Route::get("/bench00/items", items::all).public(),
        Route::get("/bench00/disabled-event", measure::disabled_event).public(),
        Route::get("/bench00/jobs/expect/{jobs}", jobs::expect).public(),
        Route::get("/bench00/jobs/done", jobs::done).public(),
        Route::get("/bench00/jobs/ledger", jobs::ledger).public(),
    ];

    const JOBS: &'static [Job<Self>] = &[
        Job::new("bench00.nothing", jobs::nothing),
        Job::new("bench00.timed", jobs::timed),
        Job::new("bench00.limited", jobs::nothing).queue("limited"),
        Job::new("bench00.keyed", jobs::keyed).queue("limited"),
    ];

    const MIGRATIONS: &'static [Migration] = &[migration!("0001_items")];

    type Config = NoConfig;

    async fn create(context: Context, _: NoConfig) -> Result<Self> {
        Ok(Self {
            ledger: jobs::Ledger::default(),
            audience: context.hub().topic(Policy::Recover).ok(),
        })
    }
}

export_plugin!(Bench);

/// The header that `echo` reads and sends back.
const MARK: HeaderName = HeaderName::from_static("x-mark");

struct Mark(Option<HeaderValue>);

impl Extract for Mark {
    async fn extract(request: &mut Request) -> Result<Self> {
        let text = request.header("x-mark");
        Ok(Self(text.and_then(|text| HeaderValue::from_str(text).ok())))
    }
}

/// Answers with the body that came, its mark, and a content type.
async fn echo(_: Cx<Bench>, mark: Mark, Body(bytes): Body) -> Result<Response> {
    let response = Response::new(StatusCode::OK, bytes).content_type("application/octet-stream");
    Ok(match mark.0 {
        Some(mark) => response.header(MARK, mark),
        None => response,
    })
}
