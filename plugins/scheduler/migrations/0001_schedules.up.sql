-- Schedules: when something is to happen, and what.
--
-- A host sleeps until the smallest `due_at`, takes the schedules that are due, and for each of them does three things in one
-- transaction: it writes down the fire, enqueues what the schedule is for, and moves `next_at` on. Whoever commits first has
-- done it; a host that dies before that has done nothing. The clock of all this is the database's.
create table scheduler.schedules (
    id uuid primary key default nself.uuid_v7(),
    name text not null constraint schedules_name unique
        constraint schedules_name_form check (name ~ '^[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,127}$'),
    -- Who keeps its definition: `api`, `file`, `hasura`, `event` (one-off, gone after its fire), `plugin:<id>` (its manifest says it), or
    -- `kept:<word>` (a plugin keeps it here while it runs).
    owner text not null
        constraint schedules_owner check (owner in ('api', 'file', 'hasura', 'event') or owner like 'plugin:_%' or owner like 'kept:_%'),
    comment text,
    spec text not null,
    -- Null: the zone that the text names, else UTC.
    zone text,
    gap text not null default 'run' constraint schedules_gap check (gap in ('run', 'skip')),
    overlap_time text not null default 'first' constraint schedules_overlap_time check (overlap_time in ('first', 'both')),
    start_at timestamptz,
    end_at timestamptz,
    -- What becomes of fires whose time passed while nobody was there to see it.
    missed text not null default 'last' constraint schedules_missed check (missed in ('skip', 'last', 'all')),
    missed_max integer not null default 100 constraint schedules_missed_max check (missed_max between 1 and 1000),
    missed_window_seconds bigint not null default 86400 constraint schedules_missed_window check (missed_window_seconds >= 0),
    -- What becomes of a fire while the run before it is not over.
    overlap text not null default 'skip'
        constraint schedules_overlap check (overlap in ('skip', 'queue_one', 'allow', 'cancel_previous')),
    jitter_seconds integer not null default 0 constraint schedules_jitter check (jitter_seconds between 0 and 86400),
    -- What was asked for, and what that means: a job's kind, payload and options, or an event.
    target jsonb not null,
    action jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    -- The time that is to be fired for; null when there is none any more. And when it is looked at: later by the jitter, or
    -- earlier when a run waits for the one before it.
    next_at timestamptz,
    due_at timestamptz,
    -- The release of the zone data that `next_at` was computed with.
    zones_version text not null,
    -- Why there is no next time although the schedule has not ended.
    trouble text,
    paused_at timestamptz,
    paused_by text,
    pause_reason text,
    -- The last run, and the time whose run waits for that one to end (`queue_one`).
    last_nominal_at timestamptz,
    last_fired_at timestamptz,
    last_outcome text,
    last_late_ms bigint,
    last_job bigint,
    waiting_at timestamptz,
    fired_total bigint not null default 0,
    skipped_total bigint not null default 0,
    missed_total bigint not null default 0,
    failed_total bigint not null default 0,
    constraint schedules_pause check ((paused_at is null) = (paused_by is null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- A schedule that rests costs a look nothing.
create index schedules_due on scheduler.schedules (due_at) where paused_at is null and due_at is not null;
create index schedules_owner_name on scheduler.schedules (owner, name);

-- What was fired, and what was not and why. The key is what makes a second fire for one time impossible.
create table scheduler.fires (
    schedule_id uuid not null constraint fires_schedule references scheduler.schedules on delete cascade,
    nominal_at timestamptz not null,
    -- `time`, `manual` or `backfill`.
    origin text not null,
    fired_at timestamptz not null,
    -- How much later than it should have been, jitter not counted.
    late_ms bigint,
    -- `fired`, `waiting` (for the run before it), `skipped` (because of the run before it) or `failed`.
    outcome text not null,
    job_id bigint,
    error text,
    constraint fires_pkey primary key (schedule_id, nominal_at)
) with (autovacuum_vacuum_scale_factor = 0.05);

create index fires_fired_at on scheduler.fires (fired_at);
