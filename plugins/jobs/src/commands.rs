//! `nself jobs ..`: looking at jobs and steering them on the command line.

use nself_plugin_api::prelude::*;

const JOB: &[Argument] = &[Argument::text("id", "The job's number, see `list`")];
const QUEUE: &[Argument] = &[Argument::text("name", "The queue, see `queues`")];
const BATCH: &[Argument] = &[Argument::text("id", "The batch, see `batches list`")];
const KIND: Argument = Argument::text("kind", "Of that kind");
const OF_QUEUE: Argument = Argument::text("queue", "Of that queue");
const BEFORE: Argument = Argument::integer("before", "`next` of the page before (see --json)");
const LIMIT: Argument = Argument::integer("limit", "Rows, at most 1000");
const SINCE: Argument =
    Argument::text("since", "Enqueued since then, such as 2030-01-31T12:00:00Z");

/// All of them.
pub(crate) const ALL: &[Command] = &[
    Command::get("list", "/v1/jobs")
        .summary("List jobs, the newest first")
        .arguments(&[
            Argument::text(
                "state",
                "available, scheduled, running, retryable, completed, cancelled or discarded",
            ),
            KIND,
            OF_QUEUE,
            Argument::text("family_id", "Of that family"),
            Argument::text("tag", "With that tag"),
            SINCE,
            BEFORE,
            LIMIT,
        ])
        .rows("jobs")
        .columns(&[
            ("ID", "id"),
            ("STATE", "state"),
            ("KIND", "kind"),
            ("QUEUE", "queue"),
            ("ATTEMPT", "attempt"),
            ("ENQUEUED", "enqueued_at"),
            ("DUE", "run_at"),
            ("ENDED", "finished_at"),
            ("LAST ERROR", "error_code"),
        ]),
    Command::get("show", "/v1/jobs/{id}")
        .summary("Show a job: its input, its errors, what it wrote down")
        .arguments(JOB),
    Command::post("retry", "/v1/jobs/{id}/retry")
        .summary("Make a job available now that waits or was discarded")
        .arguments(JOB),
    Command::post("cancel", "/v1/jobs/{id}/cancel")
        .summary("End a job: at once when it has not begun, else its worker is told")
        .arguments(JOB),
    Command::post("priority", "/v1/jobs/{id}/priority")
        .summary("Give a job that has not begun another priority")
        .arguments(&[
            Argument::text("id", "The job's number, see `list`"),
            Argument::integer("priority", "0 is first, 9 is last").required(),
        ]),
    Command::get("queues", "/v1/jobs/queues")
        .summary("List queues and what is in them; 10000 is `at least`")
        .columns(&[
            ("QUEUE", "name"),
            ("WORKER", "worker"),
            ("AVAILABLE", "available"),
            ("SCHEDULED", "scheduled"),
            ("RETRYABLE", "retryable"),
            ("RUNNING", "running"),
            ("DISCARDED", "discarded"),
            ("OLDEST (S)", "oldest_seconds"),
            ("PAUSED BY", "paused_by"),
            ("REASON", "pause_reason"),
        ]),
    Command::post("pause", "/v1/jobs/queues/{name}/pause")
        .summary("Let nothing of a queue begin; what runs goes on")
        .arguments(&[
            Argument::text("name", "The queue, see `queues`"),
            Argument::text("reason", "Why, for who wonders later"),
        ]),
    Command::post("resume", "/v1/jobs/queues/{name}/resume")
        .summary("Let the jobs of a queue begin again")
        .arguments(QUEUE),
    Command::post("drain", "/v1/jobs/queues/{name}/drain")
        .summary("Pause a queue and wait until nothing of it runs")
        .arguments(&[
            Argument::text("name", "The queue, see `queues`"),
            Argument::text("reason", "Why, for who wonders later"),
            Argument::integer("wait_seconds", "How long to wait, at most 60"),
        ]),
    Command::get("limits list", "/v1/jobs/queues")
        .summary("List queues and their limits; an empty cell is none")
        .columns(&[
            ("QUEUE", "name"),
            ("WORKER", "worker"),
            ("RUNNING", "running"),
            ("MAX", "running_max"),
            ("MAX PER KEY", "running_per_key_max"),
            ("PER SECOND", "rate.per_second"),
            ("BURST", "rate.burst"),
            ("BY", "rate.by"),
        ]),
    Command::put("limits set", "/v1/jobs/queues/{name}/limits")
        .summary("Set the limits of a queue, all of them: what is left out has none")
        .arguments(&[
            Argument::text("name", "The queue, see `queues`"),
            Argument::integer("running_max", "Jobs that run at a time, over all hosts"),
            Argument::integer("running_per_key_max", "The same for each concurrency key"),
            Argument::text("rate", "Jobs that start, such as 30/minute"),
            Argument::integer("burst", "Starts that may come at once, after a pause"),
            Argument::text("by", "`queue`, or `key`: a rate for each rate key"),
        ]),
    Command::delete("limits remove", "/v1/jobs/queues/{name}/limits")
        .summary("Take all limits from a queue")
        .arguments(QUEUE)
        .confirm("Take all limits from the queue {name}?"),
    Command::get("batches list", "/v1/jobs/batches")
        .summary("List batches, the newest first")
        .arguments(&[
            Argument::text("state", "open, finished or cancelled"),
            Argument::text("before", "`next` of the page before (see --json)"),
            LIMIT,
        ])
        .rows("batches")
        .columns(&[
            ("ID", "id"),
            ("NAME", "name"),
            ("TOTAL", "total"),
            ("PENDING", "pending"),
            ("FAILED", "failed"),
            ("SEALED", "is_sealed"),
            ("OPENED", "created_at"),
            ("ENDED", "finished_at"),
            ("CANCELLED", "cancelled_at"),
        ]),
    Command::get("batches show", "/v1/jobs/batches/{id}")
        .summary("Show a batch")
        .arguments(BATCH),
    Command::post("batches cancel", "/v1/jobs/batches/{id}/cancel")
        .summary("End all jobs of a batch; those that run are told")
        .arguments(BATCH)
        .confirm("End all jobs of the batch {id}?"),
    Command::get("stats", "/v1/jobs/stats").summary("Show all queues together"),
    Command::tail("tail", "/v1/jobs/tail")
        .summary("Show what the jobs of this host do, as it happens")
        .arguments(&[KIND, OF_QUEUE])
        .columns(&[
            ("AT", "at"),
            ("ID", "id"),
            ("STATE", "state"),
            ("KIND", "kind"),
            ("QUEUE", "queue"),
            ("ATTEMPT", "attempt"),
            ("MS", "took_ms"),
            ("ERROR", "code"),
            ("MESSAGE", "message"),
        ]),
    Command::get("dead", "/v1/jobs/dead")
        .summary("List discarded jobs, the newest first")
        .arguments(&[KIND, OF_QUEUE, SINCE, BEFORE, LIMIT])
        .rows("jobs")
        .columns(&[
            ("ID", "id"),
            ("KIND", "kind"),
            ("QUEUE", "queue"),
            ("ATTEMPTS", "attempt"),
            ("ENQUEUED", "enqueued_at"),
            ("DISCARDED", "finished_at"),
            ("ERROR", "error_code"),
        ]),
    Command::post("retry-dead", "/v1/jobs/dead/retry")
        .summary("Make discarded jobs available again, of a kind, of a queue, or all")
        .arguments(&[KIND, OF_QUEUE])
        .confirm("Work the discarded jobs again?"),
    Command::delete("remove-dead", "/v1/jobs/dead/{id}")
        .summary("Remove a discarded job for good")
        .arguments(JOB)
        .confirm("Remove the job {id} for good?"),
];
