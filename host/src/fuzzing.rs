//! Fuzz targets: everything here that reads what others sent. Each body stands in the room that it is about.

#[macro_use]
#[path = "../../fuzz/targets.rs"]
mod targets;

mod documents;

targets! {
    address: crate::http::fuzzing::address,
    archive: crate::package::fuzzing::archive,
    catalogue_index: documents::index,
    dotenv: crate::config::fuzzing::dotenv,
    elf: crate::loader::fuzzing::elf,
    hasura_metadata: documents::fragment,
    jwt: crate::identity::fuzzing::jwt,
    manifest: crate::loader::fuzzing::manifest,
    migration: crate::migrate::fuzzing::migration,
    otlp_answer: crate::telemetry::fuzzing::otlp_answer,
    plugin_message: crate::plugin::isolated::fuzzing::message,
    proxy_protocol: crate::http::fuzzing::proxy_protocol,
    signature: documents::signature,
    statement: crate::telemetry::fuzzing::statement,
    traceparent: documents::traceparent,
    websocket: crate::hub::fuzzing::websocket,
}
