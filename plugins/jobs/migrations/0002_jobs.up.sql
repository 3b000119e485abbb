-- Where jobs are. Each state has a table, so that claiming never passes over a job that cannot run.
create sequence jobs.numbers;

-- 31 bits of seconds since 2024 and 22 of a sequence: in order of time, and below 2^53 until 2092, so a JSON number.
create function jobs.new_id() returns bigint
    language sql volatile
    return ((date_part('epoch', clock_timestamp())::bigint - 1704067200) << 22) | (nextval('jobs.numbers') & 4194303);

-- The time in a job's id.
create function jobs.created_at(id bigint) returns timestamptz
    language sql immutable
    return to_timestamp((id >> 22) + 1704067200);

-- Available. Priority 0 (to 9) is first. `meta` holds what few jobs have (options, errors so far) and is null for a plain job;
-- `payload` is null when it is large and lies in `payloads`.
-- A job without a family is in one index only: what a job costs is mostly its index entries. There is no constraint, which
-- each statement would read and make ready anew, a tenth of what enqueueing a job costs: only functions write here, and what they
-- write was checked by them or stood in a table that has the constraints.
create table jobs.ready (
    id bigint not null default jobs.new_id(),
    queue smallint not null,
    priority smallint not null default 5,
    attempt smallint not null default 0,
    attempts_max smallint not null default 10,
    kind text not null,
    family_id uuid,
    concurrency_key text,
    rate_key text,
    meta jsonb,
    payload jsonb
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

create unique index ready_fetch on jobs.ready (queue, priority, id) where family_id is null;
-- Families take turns: the queue is read family by family, from a place that moves on. What is found by its id alone is
-- found through the ten priorities of each queue, or through the last of these.
create unique index ready_fair on jobs.ready (queue, priority, family_id, id) where family_id is not null;
create index ready_family_job on jobs.ready (queue, id) where family_id is not null;

-- Scheduled and retryable (attempt > 0).
create table jobs.later (
    like jobs.ready including defaults,
    run_at timestamptz not null,
    constraint later_priority check (priority between 0 and 9),
    constraint later_attempts check (attempt >= 0 and attempts_max between 1 and 1000),
    constraint later_pkey primary key (id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

create index later_due on jobs.later (queue, run_at, id);
-- Of a million delayed jobs, the few that have failed: to list and count them.
create index later_retried on jobs.later (queue, id) where attempt > 0;

-- Available, but their concurrency key has all that it may have. They come back to `ready` when a place is free.
create table jobs.waiting (
    like jobs.ready including defaults,
    constraint waiting_priority check (priority between 0 and 9),
    constraint waiting_attempts check (attempt >= 0 and attempts_max between 1 and 1000),
    constraint waiting_key check (concurrency_key is not null)
);

create unique index waiting_next on jobs.waiting (queue, concurrency_key, priority, id);
create unique index waiting_pkey on jobs.waiting (id);

-- Keys of which a job has ended since the last claim of the queue.
create table jobs.freed (queue smallint not null, concurrency_key text not null);
create index freed_queue on jobs.freed (queue);

-- Were running when their host died twice. They run one at a time, so that the one that kills is found.
create table jobs.suspects (
    like jobs.ready including defaults,
    constraint suspects_priority check (priority between 0 and 9),
    constraint suspects_attempts check (attempt >= 0 and attempts_max between 1 and 1000),
    constraint suspects_pkey primary key (queue, id)
);

-- Payloads of more than 2 kB, and those of jobs for which the one before in their chain has found as much: written once, however
-- often the job moves.
create table jobs.payloads (id bigint primary key, body jsonb not null, previous jsonb);

-- Hosts that are alive. Each also holds a session lock on its number.
create table jobs.hosts (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    lock integer generated always as identity constraint hosts_lock unique,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- Running: one row for a claimed batch. Its id is random and never used again, and everything that a worker says about
-- its jobs names it: the fence. A job that runs for long gets a row of its own.
create table jobs.leases (
    id uuid primary key,
    -- The host that has it, or the worker that fetched it and when that one is given up.
    host uuid,
    worker text,
    expires_at timestamptz,
    queue smallint not null,
    claimed_at timestamptz not null default clock_timestamp(),
    is_suspect boolean not null default false,
    -- Its queue has a limit, at which others may wait for the places of these jobs.
    is_limited boolean not null default false,
    ids bigint[] not null,
    priorities smallint[] not null,
    attempts smallint[] not null,
    attempts_max smallint[] not null,
    kinds text[] not null,
    families uuid[] not null,
    concurrency_keys text[] not null,
    rate_keys text[] not null,
    metas jsonb[] not null,
    payloads jsonb[] not null,
    -- Jobs of the batch that have ended.
    done bigint[] not null default '{}',
    progress jsonb,
    constraint leases_holder check ((host is null) <> (worker is null)),
    constraint leases_expiry check ((worker is null) = (expires_at is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- A batch is written once and read once, and compressed between: lz4 takes a quarter of a claim's time less than what is usual.
-- A server may have been built without it.
do $$
begin
    if exists (select from pg_settings s where s.name = 'default_toast_compression' and 'lz4' = any (s.enumvals)) then
        alter table jobs.leases
            alter ids set compression lz4, alter priorities set compression lz4, alter attempts set compression lz4,
            alter attempts_max set compression lz4, alter kinds set compression lz4, alter families set compression lz4,
            alter concurrency_keys set compression lz4, alter rate_keys set compression lz4, alter metas set compression lz4,
            alter payloads set compression lz4;
    end if;
end
$$;

create index leases_host on jobs.leases (host);
create index leases_expires_at on jobs.leases (expires_at) where expires_at is not null;

-- Running jobs that somebody wants to end. Their hosts look here, and whoever writes down how a job ended. It is no column of
-- the lease: the ends of all its jobs would wait for whoever asks, as long as his transaction is open.
create table jobs.cancels (
    id bigint constraint cancels_pkey primary key,
    at timestamptz not null default clock_timestamp(),
    -- Its family is gone for good: nothing stays of it when it has ended.
    is_forgotten boolean not null default false
);

-- Completed and cancelled, a partition for each day: pruning drops one. Partitions are made by `jobs.make_partitions`.
create table jobs.finished (
    id bigint not null,
    queue smallint not null,
    state text not null,
    attempt smallint not null,
    worker uuid,
    claimed_at timestamptz,
    finished_at timestamptz not null default clock_timestamp(),
    kind text not null,
    family_id uuid,
    meta jsonb,
    payload jsonb,
    result jsonb
) partition by range (finished_at);

create index finished_id on jobs.finished (id);

-- Discarded: all attempts failed, or a handler gave up. They can be retried.
create table jobs.dead (
    like jobs.ready including defaults,
    error jsonb not null,
    failed_at timestamptz not null default clock_timestamp(),
    constraint dead_priority check (priority between 0 and 9),
    constraint dead_attempts check (attempt >= 0 and attempts_max between 1 and 1000),
    constraint dead_pkey primary key (id)
);

create index dead_failed_at on jobs.dead (failed_at);
create index dead_kind on jobs.dead (kind, id);
create index dead_queue on jobs.dead (queue, id);

-- Unique jobs: who has the key, until the job ends (null) or until a time.
create table jobs.uniques (
    queue smallint not null,
    key bytea not null,
    id bigint not null,
    until timestamptz,
    constraint uniques_pkey primary key (queue, key)
);

create index uniques_until on jobs.uniques (until) where until is not null;

-- Jobs that belong together, and what is enqueued when the last of them has ended.
create table jobs.batches (
    id uuid primary key default nself.uuid_v7(),
    name text,
    family_id uuid,
    total integer not null default 0,
    pending integer not null default 0,
    failed integer not null default 0,
    -- No more jobs will be added.
    is_sealed boolean not null default false,
    then_kind text,
    then_payload jsonb,
    then_options jsonb,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    -- Somebody ended all of it; its callback is enqueued all the same and says so.
    cancelled_at timestamptz
);

-- The jobs of a batch that have not ended.
create table jobs.batch_jobs (
    batch uuid not null,
    id bigint not null,
    constraint batch_jobs_pkey primary key (batch, id)
);

create index batches_finished_at on jobs.batches (finished_at) where finished_at is not null;

-- What a job wrote down, the newest 100 lines.
create table jobs.logs (
    id bigint not null,
    number bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    level text not null,
    message text not null,
    constraint logs_pkey primary key (id, number)
);

create index logs_at on jobs.logs (at);

-- How far a job is, as its handler says. (Of a job that a worker fetched it stands in the lease, which is its own.)
create table jobs.progress (
    id bigint constraint progress_pkey primary key,
    at timestamptz not null default clock_timestamp(),
    progress jsonb not null
) with (fillfactor = 50);

-- Rate limits: when the next start would be in time (GCRA).
create table jobs.rates (
    queue smallint not null,
    key text not null,
    next_at timestamptz not null,
    constraint rates_pkey primary key (queue, key)
) with (fillfactor = 50);

-- Workers that found nothing and sleep. Whoever commits a job notifies only then: NOTIFY takes a lock of the whole cluster
-- over the commit's fsync. Unlogged: a mark is worth nothing after a crash, and `until` ends one of a worker that died.
create unlogged table jobs.sleepers (
    queue smallint not null,
    worker uuid not null,
    until timestamptz not null,
    -- It found no place, rather than no job: the end of a job wakes it, and a new one does not.
    is_at_limit boolean not null default false,
    constraint sleepers_pkey primary key (queue, worker)
);
