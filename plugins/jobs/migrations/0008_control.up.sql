-- What people and plugins do with jobs that are there.

-- One job, wherever it is.
create view jobs.jobs as
select r.id, 'available' as state, r.queue, r.kind, r.priority, r.attempt, r.attempts_max, r.family_id, r.concurrency_key, r.rate_key,
    r.meta, r.payload, null::jsonb as result, null::jsonb as error, null::jsonb as progress, null::timestamptz as run_at,
    null::timestamptz as claimed_at, null::timestamptz as finished_at
from jobs.ready r
union all
select w.id, 'available', w.queue, w.kind, w.priority, w.attempt, w.attempts_max, w.family_id, w.concurrency_key, w.rate_key,
    w.meta, w.payload, null, null, null, null, null, null
from jobs.waiting w
union all
select s.id, 'available', s.queue, s.kind, s.priority, s.attempt, s.attempts_max, s.family_id, s.concurrency_key, s.rate_key,
    s.meta, s.payload, null, null, null, null, null, null
from jobs.suspects s
union all
select l.id, case when l.attempt = 0 then 'scheduled' else 'retryable' end, l.queue, l.kind, l.priority, l.attempt, l.attempts_max,
    l.family_id, l.concurrency_key, l.rate_key, l.meta, l.payload, null, null, null, l.run_at, null, null
from jobs.later l
union all
select j.id, 'running', l.queue, j.kind, j.priority, j.attempt, j.attempts_max, j.family_id, j.concurrency_key, j.rate_key, j.meta,
    j.payload, null, null, coalesce(l.progress, (select p.progress from jobs.progress p where p.id = j.id)), null, l.claimed_at, null
from jobs.leases l cross join lateral unnest(l.ids, l.priorities, l.attempts, l.attempts_max, l.kinds, l.families, l.concurrency_keys,
    l.rate_keys, l.metas, l.payloads)
    as j (id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload)
where j.id <> all (l.done)
union all
select d.id, 'discarded', d.queue, d.kind, d.priority, d.attempt, d.attempts_max, d.family_id, d.concurrency_key, d.rate_key, d.meta,
    d.payload, null, d.error, null, null, null, d.failed_at
from jobs.dead d
union all
select f.id, f.state, f.queue, f.kind, null, f.attempt, null, f.family_id, null, null, f.meta, f.payload, f.result, null, null, null,
    f.claimed_at, f.finished_at
from jobs.finished f;

-- A job by its id. Not by the view: the table of available jobs has no index by id, so they are looked for under each queue
-- and priority; and what is found ends the search. Each look is held to its index (`offset 0` keeps the planner from merging it with
-- what is around it): the tables are empty at one moment and have a million rows at the next.
create function jobs.find(job_id bigint) returns setof jobs.jobs
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set max_parallel_workers_per_gather = 0
    set jit = off
as $$
begin
    return query
    select r.id, 'available', r.queue, r.kind, r.priority, r.attempt, r.attempts_max, r.family_id, r.concurrency_key, r.rate_key,
        r.meta, r.payload, null::jsonb, null::jsonb, null::jsonb, null::timestamptz, null::timestamptz, null::timestamptz
    from jobs.queues q cross join generate_series(0, 9) as p (n) cross join lateral (
        select o.* from jobs.ready o
        where o.queue = q.id and o.priority = p.n::smallint and o.id = job_id and o.family_id is null offset 0
    ) r;
    if found then return; end if;
    return query
    select r.id, 'available', r.queue, r.kind, r.priority, r.attempt, r.attempts_max, r.family_id, r.concurrency_key, r.rate_key,
        r.meta, r.payload, null::jsonb, null::jsonb, null::jsonb, null::timestamptz, null::timestamptz, null::timestamptz
    from jobs.queues q cross join lateral (
        select o.* from jobs.ready o where o.queue = q.id and o.id = job_id and o.family_id is not null offset 0
    ) r;
    if found then return; end if;
    return query
    select j.id, 'running', l.queue, j.kind, j.priority, j.attempt, j.attempts_max, j.family_id, j.concurrency_key, j.rate_key, j.meta,
        j.payload, null::jsonb, null::jsonb, l.progress, null::timestamptz, l.claimed_at, null::timestamptz
    from jobs.leases l cross join lateral unnest(l.ids, l.priorities, l.attempts, l.attempts_max, l.kinds, l.families, l.concurrency_keys,
        l.rate_keys, l.metas, l.payloads)
        as j (id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload)
    where job_id = any (l.ids) and job_id <> all (l.done) and j.id = job_id;
    if found then return; end if;
    return query
    select l.id, case when l.attempt = 0 then 'scheduled' else 'retryable' end, l.queue, l.kind, l.priority, l.attempt, l.attempts_max,
        l.family_id, l.concurrency_key, l.rate_key, l.meta, l.payload, null::jsonb, null::jsonb, null::jsonb, l.run_at,
        null::timestamptz, null::timestamptz
    from jobs.later l where l.id = job_id;
    if found then return; end if;
    return query
    select w.id, 'available', w.queue, w.kind, w.priority, w.attempt, w.attempts_max, w.family_id, w.concurrency_key, w.rate_key,
        w.meta, w.payload, null::jsonb, null::jsonb, null::jsonb, null::timestamptz, null::timestamptz, null::timestamptz
    from jobs.waiting w where w.id = job_id;
    if found then return; end if;
    return query
    select s.id, 'available', s.queue, s.kind, s.priority, s.attempt, s.attempts_max, s.family_id, s.concurrency_key, s.rate_key,
        s.meta, s.payload, null::jsonb, null::jsonb, null::jsonb, null::timestamptz, null::timestamptz, null::timestamptz
    from jobs.suspects s where s.id = job_id;
    if found then return; end if;
    return query
    select d.id, 'discarded', d.queue, d.kind, d.priority, d.attempt, d.attempts_max, d.family_id, d.concurrency_key, d.rate_key,
        d.meta, d.payload, null::jsonb, d.error, null::jsonb, null::timestamptz, null::timestamptz, d.failed_at
    from jobs.dead d where d.id = job_id;
    if found then return; end if;
    return query
    select f.id, f.state, f.queue, f.kind, null::smallint, f.attempt, null::smallint, f.family_id, null::text, null::text, f.meta,
        f.payload, f.result, null::jsonb, null::jsonb, null::timestamptz, f.claimed_at, f.finished_at
    from jobs.finished f where f.id = job_id limit 1;
end
$$;

-- The state of a job; null when there is none (any more). For those who wait for jobs of theirs in SQL, and ask often: one
-- snapshot, by indexes only, and first where most of them are.
create function jobs.state(job_id bigint) returns text
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set max_parallel_workers_per_gather = 0
    set jit = off
as $$
declare
    state text;
begin
    select f.state into state from jobs.finished f where f.id = job_id limit 1;
    if found then return state; end if;
    if exists (select from jobs.later l where l.id = job_id) then
        return (select case when l.attempt = 0 then 'scheduled' else 'retryable' end from jobs.later l where l.id = job_id);
    end if;
    if exists (select from jobs.leases l where job_id = any (l.ids) and job_id <> all (l.done)) then
        return 'running';
    end if;
    if exists (select from jobs.dead d where d.id = job_id) then
        return 'discarded';
    end if;
    if exists (
        select from jobs.queues q join jobs.ready r on r.queue = q.id and r.priority = any ('{0,1,2,3,4,5,6,7,8,9}'::smallint[])
            and r.id = job_id
        where r.family_id is null
    ) or exists (select from jobs.ready r where r.id = job_id and r.family_id is not null)
        or exists (select from jobs.waiting w where w.id = job_id)
        or exists (select from jobs.queues q join jobs.suspects s on s.queue = q.id and s.id = job_id) then
        return 'available';
    end if;
    return null;
end
$$;

-- Takes a job out of where it waits, and returns how it ends; one that runs is asked to end. `was` is the state that it was in,
-- null when there is no such job; one that has ended stays as it is.
create function jobs.begin_cancel(job_id bigint, reason text, out was text, out ending jobs.ending)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    of_queue smallint;
    job jobs.ready;
    holder uuid;
begin
    loop
        select f.state, f.queue into was, of_queue from jobs.find(job_id) f;
        if was = 'available' then
            job := jobs.take_ready(job_id, of_queue);
        elsif was in ('scheduled', 'retryable') then
            with gone as (delete from jobs.later l where l.id = job_id returning l.*)
            select g.id, g.queue, g.priority, g.attempt, g.attempts_max, g.kind, g.family_id, g.concurrency_key, g.rate_key, g.meta,
                g.payload
            into job from gone g;
        elsif was = 'running' then
            select l.host into holder from jobs.leases l where job_id = any (l.ids) and job_id <> all (l.done);
            if found then
                -- It may end at this moment. When it is not over with that, `jobs.apply_cancels` comes back to it.
                insert into jobs.cancels (id) values (job_id) on conflict do nothing;
                if holder is not null then
                    perform pg_notify('nself_jobs', 'cancel ' || holder);
                end if;
                return;
            end if;
        else
            return;
        end if;
        exit when job.id is not null;
        -- Somebody claimed it in between, or its attempt has ended: look again.
    end loop;
    ending := row(
        null, null, null, job.id, job.queue, job.priority, job.attempt, job.attempts_max, job.kind, job.family_id, job.concurrency_key,
        job.rate_key, job.meta, job.payload, 'cancelled', null,
        jsonb_build_object('code', 'JOB_CANCELLED', 'message', coalesce(reason, 'cancelled before it began')), null, true, true
    )::jobs.ending;
end
$$;

-- Ends a job: at once when it has not begun, else its worker is told. Returns the state that it was in.
create function jobs.cancel(job_id bigint, reason text default null) returns text
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    begun record;
begin
    select * into begun from jobs.begin_cancel(job_id, reason);
    if (begun.ending).id is not null then
        perform jobs.end_jobs(array[begun.ending]);
    end if;
    return begun.was;
end
$$;

-- Jobs that somebody wanted to end while they ran and that do not run any more: their attempt ended at the same moment. What
-- is not over with that is ended now. It waits for nobody: a host calls it when it says that it lives.
create function jobs.apply_cancels() returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '100ms'
as $$
declare
    asked jobs.cancels;
begin
    for asked in
        select c.* from jobs.cancels c
        where not exists (select from jobs.leases l where c.id = any (l.ids) and c.id <> all (l.done))
        order by c.id limit 100 for update skip locked
    loop
        begin
            if asked.is_forgotten then
                perform jobs.cancel(asked.id);
                -- It may run again, in the hands of whoever claimed it at this moment: then it is still asked to end.
                continue when jobs.state(asked.id) = 'running';
                perform jobs.forget_ended(array[asked.id]);
            end if;
            delete from jobs.cancels c where c.id = asked.id;
            if not asked.is_forgotten then
                perform jobs.cancel(asked.id, 'cancelled while it ran');
            end if;
        exception when lock_not_available then
            return;
        end;
    end loop;
end
$$;

-- Makes discarded jobs available again, with all their attempts before them; how many there were. A batch that has not ended
-- waits for them again.
create function jobs.revive(job_ids bigint[]) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint;
    batch_ids uuid[];
begin
    perform from jobs.dead d where d.id = any (job_ids) order by d.id for update;
    batch_ids := array(select (d.meta ->> 'batch')::uuid from jobs.dead d where d.id = any (job_ids) and d.meta ? 'batch');
    perform jobs.lock_batches(batch_ids);
    with gone as (
        delete from jobs.dead d where d.id = any (job_ids) returning d.*
    ), waiting as (
        update jobs.batches b set pending = b.pending + n.jobs, failed = b.failed - n.jobs
        from (
            select (g.meta ->> 'batch')::uuid as batch, count(*)::integer as jobs from gone g where g.meta ? 'batch' group by 1
        ) n
        where b.id = n.batch and b.finished_at is null
        returning b.id
    ), members as (
        insert into jobs.batch_jobs (batch, id)
        select w.id, g.id from gone g join waiting w on w.id = (g.meta ->> 'batch')::uuid
    ), back as (
        insert into jobs.ready
        select g.id, g.queue, g.priority, 0, g.attempts_max, g.kind, g.family_id, g.concurrency_key, g.rate_key, g.meta - 'crashes', g.payload
        from gone g returning 1
    )
    select count(*) into moved from back;
    return moved;
end
$$;

-- Makes a job available now: one that waits for its time, or a discarded one. Returns the state that it is in.
create function jobs.retry(job_id bigint) returns text
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    job jobs.ready;
begin
    with gone as (delete from jobs.later l where l.id = job_id returning l.*)
    select g.id, g.queue, g.priority, g.attempt, g.attempts_max, g.kind, g.family_id, g.concurrency_key, g.rate_key, g.meta, g.payload
    into job from gone g;
    if job.id is not null then
        insert into jobs.ready select (job).*;
        return 'available';
    end if;
    if jobs.revive(array[job_id]) = 1 then
        return 'available';
    end if;
    return (select f.state from jobs.find(job_id) f);
end
$$;

-- The oldest discarded jobs that match, locked. `before` is when whoever asks began to: a job that was retried and has failed
-- again since is not taken twice.
create function jobs.dead_ids(only_kind text, only_queue smallint, before timestamptz, jobs_max integer) returns bigint[]
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set max_parallel_workers_per_gather = 0
    set jit = off
as $$
begin
    if only_kind is not null then
        return array(
            select d.id from jobs.dead d
            where d.kind = only_kind and (only_queue is null or d.queue = only_queue) and d.failed_at <= before
            order by d.id limit jobs_max for update skip locked
        );
    elsif only_queue is not null then
        return array(
            select d.id from jobs.dead d where d.queue = only_queue and d.failed_at <= before
            order by d.id limit jobs_max for update skip locked
        );
    end if;
    return array(
        select d.id from jobs.dead d where d.failed_at <= before order by d.failed_at limit jobs_max for update skip locked
    );
end
$$;

-- The discarded jobs that match, available again; how many. At most `jobs_max` in one go.
create function jobs.retry_dead(only_kind text, only_queue smallint, before timestamptz, jobs_max integer) returns bigint
    language sql volatile
    set search_path = pg_catalog, pg_temp
    return jobs.revive(jobs.dead_ids(only_kind, only_queue, before, jobs_max));

-- Removes a discarded job and all that is known of it; whether there was one.
create function jobs.forget_dead(job_id bigint) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from jobs.dead d where d.id = job_id;
    if not found then
        return false;
    end if;
    delete from jobs.payloads p where p.id = job_id;
    delete from jobs.logs l where l.id = job_id;
    delete from jobs.progress p where p.id = job_id;
    return true;
end
$$;

-- Another priority for a job that has not begun; whether there was one.
create function jobs.reprioritise(job_id bigint, new_priority smallint) returns boolean
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    job jobs.ready;
begin
    if new_priority is null or new_priority not between 0 and 9 then
        perform jobs.refuse('priority', 'an integer from 0 (first) to 9', new_priority::text);
    end if;
    update jobs.later l set priority = new_priority where l.id = job_id;
    if found then
        return true;
    end if;
    update jobs.waiting w set priority = new_priority where w.id = job_id;
    if found then
        return true;
    end if;
    select f.queue into job.queue from jobs.find(job_id) f where f.state = 'available';
    if job.queue is not null then
        job := jobs.take_ready(job_id, job.queue);
        if job.id is not null then
            job.priority := new_priority;
            insert into jobs.ready select (job).*;
            return true;
        end if;
    end if;
    return false;
end
$$;
