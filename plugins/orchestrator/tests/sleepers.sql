-- $2 more runs like the sleeping run $1, each with a timer of its own.
with one as (
    select i, convert_from(i.state, 'UTF8') as state, n
    from orchestrator.instances i join orchestrator.needs n on n.instance_id = i.id where i.id = $1::text::uuid
),
made as (
    insert into orchestrator.instances (id, definition_id, namespace, name, version, status, input, state, created_by, epoch, records)
    select g.id, (o.i).definition_id, (o.i).namespace, (o.i).name, (o.i).version, (o.i).status, (o.i).input,
        convert_to(replace(o.state, $1::text, g.id::text), 'UTF8'), (o.i).created_by, (o.i).epoch, (o.i).records
    from one o, (select nself.uuid_v7() as id from generate_series(1, $2::int)) g
    returning id
)
insert into orchestrator.needs (instance_id, need, kind, due_at, job_id)
select m.id, (o.n).need, (o.n).kind, (o.n).due_at,
    jobs.enqueue('orchestrator.timer', jsonb_build_object('instance', m.id, 'need', (o.n).need), jsonb_build_object('run_at', (o.n).due_at))
from made m, one o
