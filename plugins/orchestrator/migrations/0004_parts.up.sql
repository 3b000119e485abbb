-- What a run writes, for the least that it can be written for.
--
-- The history of a run is kept in parts: what one advance did is one row, which costs one write and not one for each task. It is text
-- that is looked into when somebody asks.
create table orchestrator.history_parts (
    instance_id uuid not null,
    -- Its rows are those after `before`, up to `last`.
    before bigint not null,
    last bigint not null,
    records json not null,
    constraint history_parts_pkey primary key (instance_id, last),
    constraint history_parts_order check (last > before)
);

insert into orchestrator.history_parts (instance_id, before, last, records)
select h.instance_id, min(h.number) - 1, max(h.number), json_agg(r.record order by h.number)
from orchestrator.history h cross join lateral (
    -- What a row has not is left out, and what it has may be null.
    select jsonb_object_agg(f.key, f.value)
    from jsonb_each(to_jsonb(h) - 'instance_id' - 'number') f
    where f.key not in ('input', 'output', 'error') or case f.key when 'input' then h.input when 'output' then h.output else h.error end is not null
) as r (record)
group by h.instance_id;

-- All of it has just been copied, in this transaction.
-- squawk-ignore ban-drop-table
drop table orchestrator.history;

-- The history as rows.
create view orchestrator.history as
select p.instance_id, p.last, p.before + e.number as number, e.record ->> 'reference' as reference, e.record ->> 'name' as name,
    e.record ->> 'position' as position, e.record ->> 'status' as status, (e.record ->> 'attempt')::integer as attempt,
    (e.record -> 'input')::jsonb as input, (e.record -> 'output')::jsonb as output, (e.record -> 'error')::jsonb as error,
    (e.record ->> 'started_at')::timestamptz as started_at, (e.record ->> 'at')::timestamptz as at
from orchestrator.history_parts p cross join lateral json_array_elements(p.records) with ordinality as e (record, number);

-- A check of a foreign key costs as much as writing the row that it checks. Whoever writes a part or a need has made the run in the
-- same transaction, or holds it; so what has to be enforced is that the end of a run is the end of those.
alter table orchestrator.needs drop constraint needs_instance;

create function orchestrator.delete_with_run() returns trigger
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from orchestrator.history_parts p using gone g where p.instance_id = g.id;
    delete from orchestrator.needs n using gone g where n.instance_id = g.id;
    return null;
end
$$;

create trigger instances_gone after delete on orchestrator.instances
    referencing old table as gone for each statement execute function orchestrator.delete_with_run();

-- Whoever makes a run has found its definition, which is removed for long before it is deleted; so what has to be enforced is that
-- none is deleted that has runs. Two runs of a definition would each lock its row besides, and their locks would be written down.
alter table orchestrator.instances drop constraint instances_definition;

create function orchestrator.refuse_to_orphan() returns trigger
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from orchestrator.instances i where i.namespace = old.namespace and i.name = old.name and i.definition_id = old.id
    ) then
        raise foreign_key_violation using message = format('there are runs of the definition %s', old.id);
    end if;
    return old;
end
$$;

create trigger definitions_orphans before delete on orchestrator.definitions
    for each row execute function orchestrator.refuse_to_orphan();

-- Those of a definition that have ended are looked for among those of its name, and only before it is deleted.
-- In one transaction with the rest, so not concurrently: dropping waits for those who use the table, and takes no time itself.
-- squawk-ignore require-concurrent-index-deletion
drop index orchestrator.instances_definition_id;
-- Runs of no family are not looked for by their family.
-- squawk-ignore require-concurrent-index-deletion
drop index orchestrator.instances_family;
-- Only runs of families are in it, and runs are pruned: it is small enough to be made while nobody writes.
-- squawk-ignore require-concurrent-index-creation
create index instances_family on orchestrator.instances (family_id, id desc) where family_id is not null;

-- A step of a run is an update that changes nothing that is indexed: with room in the page the indexes do not hear of it.
alter table orchestrator.instances set (fillfactor = 85);

-- What of a family has not ended is counted with each start.
-- squawk-ignore require-concurrent-index-creation
create index instances_family_open on orchestrator.instances (family_id) where ended_at is null and family_id is not null;

-- Who waits for news of a run, and on which host. Nobody is told of a run that nobody waits for: telling takes a lock of the whole
-- cluster. Unlogged: a mark is worth nothing after a crash, and `until` ends that of a host that died.
create unlogged table orchestrator.watchers (
    instance_id uuid not null,
    host uuid not null,
    until timestamptz not null,
    constraint watchers_pkey primary key (instance_id, host)
);

-- Keeps runs that came to their end before they were written down, with their history, their events, and the entries of the audit
-- log that some of them are due. Left out are those whose key has a run already, and those whose definition is removed.
--
-- Lists of another length would be reason enough to plan anew, which takes longer than to write them: hence the setting.
create function orchestrator.keep_ended(
    ids uuid[], definitions uuid[], namespaces text[], names text[], versions text[], families uuid[], inputs jsonb[], keys text[],
    creators text[], audited boolean[], statuses text[], outputs jsonb[], errors jsonb[], states bytea[], amounts bigint[], histories text[]
)
    returns table (id uuid, created_at timestamptz, ended_at timestamptz)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    -- One for all that is said of a run: it must not end before it was made.
    moment timestamptz := clock_timestamp();
begin
    return query
    with new as (
        select n.* from unnest(ids, definitions, namespaces, names, versions, families, inputs, keys, creators, audited, statuses, outputs,
            errors, states, amounts, histories)
        as n (id, definition_id, namespace, name, version, family_id, input, key, created_by, is_audited, status, output, error, state,
            records, history)
    ), live as (
        select d.id from orchestrator.definitions d where d.id = any (definitions) and d.removed_at is null for key share
    ), kept as (
        insert into orchestrator.instances as i (id, definition_id, namespace, name, version, family_id, input, key, created_by, status,
            output, error, state, records, epoch, created_at, updated_at, ended_at)
        select n.id, n.definition_id, n.namespace, n.name, n.version, n.family_id, n.input, n.key, n.created_by, n.status,
            n.output, n.error, n.state, n.records, 1, moment, moment, moment
        from new n where n.definition_id in (select l.id from live l)
        on conflict do nothing
        returning i.id, i.created_at, i.ended_at, i.family_id, i.status
    ), told as (
        insert into orchestrator.history_parts (instance_id, before, last, records)
        select n.id, 0, n.records, n.history::json from new n where n.records > 0 and n.id in (select k.id from kept k)
    ), emitted as (
        select nself.emit_events(array_agg('workflow.' || k.status), array_agg(k.id::text), array_agg('{}'::jsonb), array_agg(k.family_id))
        from kept k
    ), noted as (
        select count(nself.audit('orchestrator.run_started', n.id::text, '{}', n.family_id, n.created_by))
        from new n where n.is_audited and n.id in (select k.id from kept k)
    )
    select k.id, k.created_at, k.ended_at from kept k, emitted, noted;
end
$$;

-- Keeps what came of a call of each run, with the next call, which the same job makes. Left out are runs that somebody else has
-- changed since, changes now, or wants to rest or to end: what came of their call is taken in by whoever holds them.
create function orchestrator.keep_steps(
    ids uuid[], epochs bigint[], states bytea[], met bigint[], nexts bigint[], jobs bigint[], befores bigint[], amounts bigint[],
    histories text[], host uuid
)
    returns table (id uuid)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
    with new as (
        select n.* from unnest(ids, epochs, states, met, nexts, jobs, befores, amounts, histories)
        as n (id, epoch, state, met, next, job, before, records, history)
    ), held as (
        select i.id from orchestrator.instances i join new n on n.id = i.id and n.epoch = i.epoch
        where i.ended_at is null and i.suspended_at is null and not i.is_cancelling
        for update of i skip locked
    ), moved as (
        update orchestrator.instances i set state = n.state, status = 'waiting', records = n.before + n.records, epoch = n.epoch + 1,
            updated_at = clock_timestamp()
        from new n where i.id = n.id and n.id in (select h.id from held h)
        returning i.id, n.met, n.next, n.job, n.before, n.records, n.history
    ), closed as (
        delete from orchestrator.needs d using moved m where d.instance_id = m.id and d.need = m.met
    ), opened as (
        insert into orchestrator.needs (instance_id, need, kind, job_id) select m.id, m.next, 'call', m.job from moved m
    ), told as (
        insert into orchestrator.history_parts (instance_id, before, last, records)
        select m.id, m.before, m.before + m.records, m.history::json from moved m where m.records > 0
    ), watched as (
        select count(pg_notify('nself_orchestrator_runs', w.instance_id::text)) from orchestrator.watchers w
        where w.instance_id in (select m.id from moved m) and w.host <> keep_steps.host and w.until > clock_timestamp()
    )
    select m.id from moved m, watched;
end
$$;
