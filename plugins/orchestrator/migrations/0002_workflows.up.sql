-- Workflows: their definitions and their instances.
--
-- An instance is a row. What drives it are jobs: one when it can go on, a delayed one for each of its timers, one for each call. One
-- that waits for an event is nothing but its row. Whoever advances it holds the row, and writes state, history and open needs in
-- the transaction that takes the outcomes in: what was done twice is taken in once.

create table orchestrator.definitions (
    id uuid primary key default nself.uuid_v7(),
    namespace text not null,
    name text not null,
    version text not null,
    format text not null constraint definitions_format check (format in ('yaml', 'json')),
    source text not null,
    -- `api`, or `file`: the operator's files bring their own back.
    owner text not null default 'api' constraint definitions_owner check (owner in ('api', 'file')),
    -- Whether the grown-ups of a family may start it.
    for_families boolean not null default false,
    -- When it starts by itself, as it stands in the document; null when it does not.
    schedule jsonb,
    -- The zone that the times of its schedule are read in.
    zone text,
    -- Types of the events that its runs may listen for; null when that may be any.
    hears text[],
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    -- It starts nothing any more, and what runs stays on it.
    removed_at timestamptz,
    constraint definitions_version unique (namespace, name, version)
);

-- Events, each once. They are kept for a while: a listener may come after its event.
create table orchestrator.events (
    id uuid primary key default nself.uuid_v7(),
    -- Whether an event came before a run or after it is told by this and not by a clock, which may be set back.
    number bigint generated always as identity constraint events_number unique,
    source text not null,
    event_id text not null,
    type text not null,
    family_id uuid,
    -- From the operator, a service or the host: instances of no family hear it as well.
    is_trusted boolean not null,
    event jsonb not null,
    -- What it starts has been started.
    is_offered boolean not null default false,
    received_at timestamptz not null default clock_timestamp(),
    constraint events_once unique nulls not distinct (source, event_id, family_id)
);

create index events_received_at on orchestrator.events (received_at);

create table orchestrator.instances (
    id uuid primary key default nself.uuid_v7(),
    definition_id uuid not null constraint instances_definition references orchestrator.definitions (id),
    namespace text not null,
    name text not null,
    version text not null,
    family_id uuid,
    status text not null default 'running'
        constraint instances_status check (status in ('running', 'waiting', 'completed', 'faulted', 'cancelled')),
    suspended_at timestamptz,
    -- Somebody wants it to end, and the next advance ends it.
    is_cancelling boolean not null default false,
    input jsonb not null,
    -- As the engine has it; null before the first advance.
    state bytea,
    output jsonb,
    error jsonb,
    -- The same request again is the same instance.
    key text constraint instances_key_length check (length(key) between 1 and 200),
    parent_id uuid,
    parent_need bigint,
    depth integer not null default 0,
    -- The schedule that starts the next one when this one has ended.
    schedule_id uuid,
    created_by text not null,
    -- The last event that was there when it began: what came until then is not for it.
    events_after bigint not null default coalesce(pg_sequence_last_value('orchestrator.events_number_seq'), 0),
    -- Counts the advances: a write of somebody who has not seen the last one finds no row.
    epoch bigint not null default 0,
    -- Rows of its history.
    records bigint not null default 0,
    -- A job that advances it has been enqueued and has not begun.
    is_queued boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    constraint instances_ended check ((ended_at is null) = (status in ('running', 'waiting')))
);

create index instances_definition_id on orchestrator.instances (definition_id);
-- Which definitions have runs that may listen.
create index instances_open on orchestrator.instances (definition_id) where ended_at is null;
create index instances_schedule on orchestrator.instances (schedule_id) where schedule_id is not null and ended_at is null;
create index instances_newest on orchestrator.instances (namespace, name, id desc);
create index instances_family on orchestrator.instances (family_id, id desc);
create index instances_ended_at on orchestrator.instances (ended_at) where ended_at is not null;
create index instances_parent on orchestrator.instances (parent_id) where parent_id is not null;
create unique index instances_key on orchestrator.instances
    (namespace, name, coalesce(family_id, '00000000-0000-0000-0000-000000000000'), key) where key is not null;
create unique index instances_child on orchestrator.instances (parent_id, parent_need) where parent_id is not null;

-- What happened to its tasks, in order.
create table orchestrator.history (
    instance_id uuid not null constraint history_instance references orchestrator.instances (id) on delete cascade,
    number bigint not null,
    reference text not null,
    name text not null,
    position text not null,
    status text not null,
    attempt integer not null,
    input jsonb,
    output jsonb,
    error jsonb,
    started_at timestamptz not null,
    at timestamptz not null,
    constraint history_pkey primary key (instance_id, number)
);

-- What it waits for. What exactly a call sends is not kept: it may have secrets in it, and the state says it again.
create table orchestrator.needs (
    instance_id uuid not null constraint needs_instance references orchestrator.instances (id) on delete cascade,
    need bigint not null,
    kind text not null constraint needs_kind check (kind in ('call', 'timer', 'event', 'child', 'command')),
    due_at timestamptz,
    -- For events: the literal attributes that one must have, and the types among them when each filter names one.
    filters jsonb,
    types text[],
    -- For events: whether those that came before it have been looked at.
    is_looked boolean not null default false,
    job_id bigint,
    created_at timestamptz not null default clock_timestamp(),
    constraint needs_pkey primary key (instance_id, need)
);

create index needs_events on orchestrator.needs (kind) where kind = 'event';

-- Outcomes that cannot be taken in yet, because the instance is suspended.
create table orchestrator.outcomes (
    instance_id uuid not null constraint outcomes_instance references orchestrator.instances (id) on delete cascade,
    number bigint generated always as identity,
    need bigint not null,
    outcome jsonb not null,
    constraint outcomes_pkey primary key (instance_id, number)
);

-- Which events an instance has taken.
create table orchestrator.deliveries (
    instance_id uuid not null constraint deliveries_instance references orchestrator.instances (id) on delete cascade,
    event_id uuid not null,
    need bigint not null,
    constraint deliveries_pkey primary key (instance_id, event_id, need)
);

-- The instance that waits for a command's end.
alter table orchestrator.device_commands
    add column instance_id uuid,
    add column need bigint;
