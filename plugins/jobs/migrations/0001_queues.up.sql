-- Queues and kinds. A job's kind names its handler; its queue says which workers may take it and how many at a time.
--
-- The engine behind this schema, in short: a job that may run is a row of `ready`, written once and deleted once. A worker
-- claims a batch by deleting rows and writing one row of `leases`, and completes it by deleting that one. What must wait is
-- elsewhere (`later`, `waiting`), so that nothing is ever scanned over.
create table jobs.queues (
    id smallint generated always as identity primary key,
    name text not null constraint queues_name unique
        constraint queues_name_form check (name ~ '^[a-z0-9][a-z0-9_.:-]{0,62}$'),
    -- Who works on it: `host` for handlers of plugins and push endpoints, `pull` for workers that fetch over HTTP.
    worker text not null default 'host' constraint queues_worker check (worker in ('host', 'pull')),
    -- Most jobs that run at a time over all hosts, in all and for each concurrency key. Null is no limit.
    running_max integer constraint queues_running_max check (running_max >= 0),
    running_per_key_max integer constraint queues_running_per_key_max check (running_per_key_max >= 1),
    -- Most jobs that start in a second, after a burst: of the queue, or of each rate key in it.
    rate_per_second double precision constraint queues_rate check (rate_per_second > 0),
    rate_burst integer not null default 1 constraint queues_rate_burst check (rate_burst >= 1),
    rate_by text not null default 'queue' constraint queues_rate_by check (rate_by in ('queue', 'key')),
    paused_at timestamptz,
    paused_by text,
    pause_reason text,
    created_at timestamptz not null default now(),
    constraint queues_pause check ((paused_at is null) = (paused_by is null))
);

insert into jobs.queues (name) values ('default');

-- What is known of a kind: declared by a plugin in its manifest, or by an operator who gives it an endpoint. A kind without
-- a row has the defaults of the columns.
create table jobs.kinds (
    kind text primary key constraint kinds_form check (kind ~ '^[a-z0-9][a-zA-Z0-9_.:-]{0,127}$'),
    queue smallint not null constraint kinds_queue references jobs.queues,
    attempts_max smallint not null default 10 constraint kinds_attempts_max check (attempts_max between 1 and 1000),
    timeout_ms integer not null default 300000 constraint kinds_timeout check (timeout_ms >= 1),
    -- Which finished jobs leave a row behind.
    keep text not null default 'all' constraint kinds_keep check (keep in ('none', 'failed', 'all')),
    -- Whether a completed job is told to the event log; discarded and cancelled ones always are.
    is_announced boolean not null default false,
    -- How attempts follow each other, as `jobs.retry_delay` reads it; null is the default policy.
    retry jsonb,
    -- Where the jobs are sent, for kinds without a handler in a plugin; the secret is sealed by the host.
    endpoint text,
    endpoint_secret bytea,
    declared_by text not null,
    updated_at timestamptz not null default now(),
    constraint kinds_endpoint check ((endpoint is null) = (endpoint_secret is null))
);
