-- Events of jobs that have ended. The event log knows who writes by the session's login, and this plugin alone may write these:
-- where another plugin ends a job, with jobs.cancel, the event waits here until a host of this plugin passes it on.
create table jobs.untold (
    id bigint generated always as identity primary key,
    type text not null,
    subject text not null,
    data jsonb not null,
    family_id uuid,
    trace_parent text
);

create function jobs.announce(ending jobs.ending) returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    type text := 'jobs.job_' || ending.state;
    data jsonb := jsonb_strip_nulls(jsonb_build_object('id', ending.id, 'kind', ending.kind, 'attempt', ending.attempt,
        'tags', ending.meta -> 'tags', 'result', ending.result, 'error', ending.error));
begin
    if nself.caller() like '/plugins/%' and nself.caller() <> '/plugins/jobs' then
        insert into jobs.untold (type, subject, data, family_id, trace_parent)
        values (type, ending.id::text, data, ending.family_id, ending.meta ->> 'trace_parent');
    else
        perform nself.emit_event(type, ending.id::text, data, ending.family_id, null, ending.meta ->> 'trace_parent');
    end if;
end
$$;

-- Passes on what waits, in its order.
create function jobs.tell() returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    event jobs.untold;
begin
    for event in
        with gone as (
            delete from jobs.untold u where u.id in (select o.id from jobs.untold o order by o.id limit 1000 for update skip locked)
            returning u.*
        )
        select g.* from gone g order by g.id
    loop
        perform nself.emit_event(event.type, event.subject, event.data, event.family_id, null, event.trace_parent);
    end loop;
end
$$;
