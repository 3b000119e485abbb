//! `nself workflow ..`: the routes on the command line.

use nself_plugin_api::prelude::*;

const RUN: Argument = Argument::text("id", "The run, or enough of the beginning or end of its id");
const FILE: Argument = Argument::file("definition", "A definition in YAML or JSON");
const NAMESPACE: Argument = Argument::text("namespace", "Where the workflow belongs");
const NAME: Argument = Argument::text("name", "The workflow");

const FORMAT: Argument = Argument::text(
    "format",
    "mermaid, which is the text of a flow chart, or svg",
);

/// All of them.
pub(crate) const ALL: &[Command] = &[
    Command::post("apply", "/v1/workflow-definitions")
        .summary("Keep a definition from a file")
        .arguments(&[FILE]),
    Command::post("validate", "/v1/workflow-definitions/validate")
        .summary("Say what is wrong with a definition, and keep nothing")
        .arguments(&[FILE]),
    Command::post("files apply", "/v1/workflow-definitions/files")
        .summary("Bring in the definitions of the operator's directory"),
    Command::get("list", "/v1/orchestrator/workflows")
        .summary("List definitions")
        .arguments(&[
            Argument::text("namespace", "Of this namespace"),
            Argument::text("after", "Those after namespace/name/version"),
            Argument::integer("limit", "Rows, at most 1000"),
        ])
        .columns(&[
            ("NAMESPACE", "namespace"),
            ("NAME", "name"),
            ("VERSION", "version"),
            ("OWNER", "owner"),
            ("CREATED", "created_at"),
        ]),
    Command::post("run", "/v1/orchestrator/workflows/{namespace}/{name}/runs")
        .summary("Start a workflow")
        .arguments(&[
            NAMESPACE,
            NAME,
            Argument::text("version", "This version, and not the highest"),
            Argument::json(
                "input",
                "The workflow's input; @FILE for one that stands in a file",
            ),
            Argument::text("family_id", "Run it for this family"),
            Argument::flag("wait", "Wait for its end"),
        ]),
    Command::delete("remove", "/v1/workflows/{namespace}/{name}/{version}")
        .summary("Remove a version; what runs stays on it")
        .arguments(&[NAMESPACE, NAME, Argument::text("version", "The version")])
        .confirm("Remove {namespace}/{name} {version}?"),
    Command::get(
        "graph",
        "/v1/orchestrator/workflows/{namespace}/{name}/graph",
    )
    .summary("Draw a definition")
    .arguments(&[
        NAMESPACE,
        NAME,
        Argument::text("version", "This version, and not the highest"),
        FORMAT,
    ]),
    Command::get("runs graph", "/v1/orchestrator/runs/{id}/graph")
        .summary("Draw a run, each task in the colour of its status")
        .arguments(&[RUN, FORMAT]),
    Command::get("runs", "/v1/orchestrator/runs")
        .summary("List runs, the newest first")
        .arguments(&[
            Argument::text("namespace", "Of this namespace"),
            Argument::text("name", "Of this workflow"),
            Argument::text(
                "status",
                "running, waiting, suspended, completed, faulted or cancelled",
            ),
            Argument::text("key", "Started with this key"),
            Argument::text("before", "Those before this one"),
            Argument::integer("limit", "Rows, at most 1000"),
        ])
        .columns(&[
            ("ID", "id"),
            ("NAME", "name"),
            ("VERSION", "version"),
            ("STATUS", "status"),
            ("CREATED", "created_at"),
            ("ENDED", "ended_at"),
        ]),
    Command::get("show", "/v1/orchestrator/runs/{id}")
        .summary("Show a run, the tasks that it is at and what they wait for")
        .arguments(&[RUN]),
    Command::get("history", "/v1/orchestrator/runs/{id}/history")
        .summary("List what happened to the tasks of a run")
        .arguments(&[
            RUN,
            Argument::integer("after", "Rows after this one"),
            Argument::integer("limit", "Rows, at most 1000"),
        ])
        .columns(&[
            ("NO", "number"),
            ("AT", "at"),
            ("TASK", "name"),
            ("STATUS", "status"),
            ("ATTEMPT", "attempt"),
            ("ERROR", "error.detail"),
        ]),
    Command::post("cancel", "/v1/orchestrator/runs/{id}/cancel")
        .summary("End a run")
        .arguments(&[RUN]),
    Command::post("suspend", "/v1/orchestrator/runs/{id}/suspend")
        .summary("Let a run rest")
        .arguments(&[RUN]),
    Command::post("resume", "/v1/orchestrator/runs/{id}/resume")
        .summary("Let a run go on")
        .arguments(&[RUN]),
    Command::post("retry", "/v1/orchestrator/runs/{id}/retry")
        .summary("Take a run back to the task that failed")
        .arguments(&[RUN]),
];
