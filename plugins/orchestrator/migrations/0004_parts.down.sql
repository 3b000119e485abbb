drop function orchestrator.keep_steps;
drop function orchestrator.keep_ended;
drop table orchestrator.watchers;
drop index orchestrator.instances_family_open;
alter table orchestrator.instances reset (fillfactor);
drop index orchestrator.instances_family;
create index instances_family on orchestrator.instances (family_id, id desc);
create index instances_definition_id on orchestrator.instances (definition_id);
drop trigger definitions_orphans on orchestrator.definitions;
drop function orchestrator.refuse_to_orphan();
alter table orchestrator.instances
    add constraint instances_definition foreign key (definition_id) references orchestrator.definitions (id);
drop trigger instances_gone on orchestrator.instances;
drop function orchestrator.delete_with_run();
alter table orchestrator.needs
    add constraint needs_instance foreign key (instance_id) references orchestrator.instances (id) on delete cascade;

alter view orchestrator.history rename to history_rows;

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

insert into orchestrator.history (instance_id, number, reference, name, position, status, attempt, input, output, error, started_at, at)
select h.instance_id, h.number, h.reference, h.name, h.position, h.status, h.attempt, h.input, h.output, h.error, h.started_at, h.at
from orchestrator.history_rows h;

drop view orchestrator.history_rows;
drop table orchestrator.history_parts;
