-- One row for each attempt at a job that began: what tests judge by, because nothing of the queue writes here.
create table ledger.runs (
    number bigint generated always as identity primary key,
    job_id bigint not null,
    attempt integer not null,
    -- The replica of the plugin, and its process.
    host uuid not null,
    process integer not null,
    key text not null,
    started_at timestamptz not null default clock_timestamp(),
    -- When the handler was done; null when it never got there.
    ended_at timestamptz
);

create index runs_job on ledger.runs (job_id);
