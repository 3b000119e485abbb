//! `nself scheduler ..`: the routes on the command line.

use nself_plugin_api::prelude::*;

const NAME: Argument = Argument::text("name", "The schedule");

/// All of them.
pub(crate) const ALL: &[Command] = &[
    Command::get("list", "/v1/schedules")
        .summary("List schedules by name")
        .arguments(&[
            Argument::text("owner", "api, file, hasura, event, plugin:ID or kept:WORD"),
            Argument::text("after", "The last name of the page before"),
            Argument::integer("limit", "Rows, at most 1000"),
        ])
        .columns(&[
            ("NAME", "name"),
            ("SPEC", "spec"),
            ("ZONE", "zone"),
            ("STATE", "state"),
            ("LAST", "last_scheduled_at"),
            ("OUTCOME", "last_outcome"),
            ("OWNER", "owner"),
        ]),
    Command::get("show", "/v1/schedules/{name}")
        .summary("Show a schedule and its next times")
        .arguments(&[NAME]),
    Command::post("preview", "/v1/scheduler/preview")
        .summary("Show when a text fires")
        .arguments(&[
            Argument::text("spec", "Such as \"30 2 * * *\", \"@every 90s\" or an RRULE").required(),
            Argument::text("zone", "IANA name of the time zone"),
            Argument::text("after", "Times after this one"),
            Argument::integer("count", "How many, at most 1000"),
        ])
        .rows("next")
        .columns(&[("AT", "at"), ("LOCAL", "local")]),
    Command::post("pause", "/v1/schedules/{name}/pause")
        .summary("Let a schedule rest")
        .arguments(&[
            NAME,
            Argument::text("reason", "A sentence for who looks at it later"),
        ]),
    Command::post("resume", "/v1/schedules/{name}/resume")
        .summary("Let a schedule go on; nothing of the pause is made up for")
        .arguments(&[NAME]),
    Command::post("run", "/v1/schedules/{name}/run")
        .summary("Fire a schedule now")
        .arguments(&[NAME]),
    Command::post("backfill", "/v1/schedules/{name}/backfill")
        .summary("Fire for the times of a window that have not been fired")
        .arguments(&[
            NAME,
            Argument::text("from", "The first instant").required(),
            Argument::text("to", "The last instant").required(),
            Argument::flag("dry_run", "Only say what would be fired"),
        ]),
    Command::get("history", "/v1/schedules/{name}/fires")
        .summary("List what a schedule fired, newest first")
        .arguments(&[
            NAME,
            Argument::text("before", "Those before this time"),
            Argument::integer("limit", "Rows, at most 1000"),
        ])
        .columns(&[
            ("SCHEDULED", "scheduled_at"),
            ("FIRED", "fired_at"),
            ("LATE MS", "late_ms"),
            ("OUTCOME", "outcome"),
            ("ORIGIN", "origin"),
            ("JOB", "job_id"),
            ("ERROR", "error"),
        ]),
    Command::post("apply", "/v1/scheduler/apply")
        .summary("Bring the schedules to what the operator's files say")
        .arguments(&[Argument::flag("dry_run", "Only say what would be changed")]),
];
