-- Workflows that start by themselves: one row for each, kept by its highest version and changed in the transaction that changes
-- which one that is. Intervals and times of day are fired by whatever plugin keeps schedules; a pause after a run, and events, are looked
-- after here.
create table orchestrator.schedules (
    id uuid primary key default nself.uuid_v7(),
    namespace text not null,
    name text not null,
    definition_id uuid not null constraint schedules_definition references orchestrator.definitions (id),
    -- Grows with each change and each start after a pause: a job that was enqueued before one finds another number.
    generation bigint not null default 0,
    after_seconds double precision,
    -- For events, as needs have them: null when no event starts it, and the types among them when each filter names one.
    filters jsonb,
    types text[],
    constraint schedules_name unique (namespace, name)
);

create index schedules_definition_id on orchestrator.schedules (definition_id);
create index schedules_events on orchestrator.schedules (id) where filters is not null;

-- Events that have come where several are wanted: what the engine keeps of them, for each family by itself.
create table orchestrator.gatherings (
    id uuid primary key default nself.uuid_v7(),
    schedule_id uuid not null constraint gatherings_schedule references orchestrator.schedules (id) on delete cascade,
    family_id uuid,
    state bytea not null,
    constraint gatherings_once unique nulls not distinct (schedule_id, family_id)
);

create index gatherings_family on orchestrator.gatherings (family_id) where family_id is not null;
