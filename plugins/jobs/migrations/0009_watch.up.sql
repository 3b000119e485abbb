-- What people look at: pages of jobs, and queues with what is in them. Everything here has a limit on what it reads, so that
-- it answers as fast beside a million jobs as beside ten.

-- A page of jobs, the newest first. `next` stands in every row, also when there is no other: the id to go on `before`, or null
-- at the end. What has an index chooses what is looked at: state, family, queue, and the time in the id. The rest (kind, tag) is
-- looked for among the `looks_max` newest of those, so a page that few match may be short and yet have a next.
--
-- Each state has a path of its own. Seen with 1,000,000 available and 1,000,000 delayed jobs, 100,000 discarded and 300,000
-- completed, 20 queues, pages of 100 and 5,000 looks (PostgreSQL 15, two busy cores), 1 to 27 ms each:
--   available without a family  Index Scan Backward on ready_fetch, for each queue and priority
--   available of a family       Index Scan Backward on ready_fair, for each queue and priority; of any on ready_family_job
--   scheduled                   Index Scan Backward on later_pkey; retryable: on later_retried, for each queue
--   discarded                   Index Scan Backward on dead_pkey, dead_kind or dead_queue
--   completed, cancelled        Merge Append over Index Scan Backward on the id index of each partition
--   running                     every lease, of which there are as many as jobs run
create function jobs.list(
    only_state text, only_kind text, only_queue smallint, only_family uuid, only_tag text, since timestamptz, before bigint,
    jobs_max integer, looks_max integer
)
    returns table (
        next bigint, id bigint, state text, queue smallint, kind text, priority smallint, attempt smallint, attempts_max smallint,
        family_id uuid, tags jsonb, error_code text, run_at timestamptz, claimed_at timestamptz, finished_at timestamptz
    )
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_bitmapscan = off
    set max_parallel_workers_per_gather = 0
    set jit = off
as $$
declare
    top bigint := coalesce(before, 9223372036854775807);
    floor bigint := coalesce((extract(epoch from since) - 1704067200)::bigint << 22, 0);
    -- Whether rows may be left out after they were looked at.
    looks integer := case
        when only_kind is null and only_tag is null and only_state is distinct from 'cancelled' and only_state is distinct from 'scheduled'
            and only_queue is null and only_family is null then jobs_max
        else greatest(jobs_max, looks_max)
    end;
begin
    return query
    with lanes as (
        select q.id as queue, p.n::smallint as priority from jobs.queues q cross join generate_series(0, 9) as p (n)
        where (only_state is null or only_state = 'available') and (only_queue is null or q.id = only_queue)
    ), looked as materialized (
        select u.* from (
            select r.id, 'available'::text as state, r.queue, r.kind, r.priority, r.attempt, r.attempts_max, r.family_id, r.meta,
                null::jsonb as error, null::timestamptz as run_at, null::timestamptz as claimed_at, null::timestamptz as finished_at
            from lanes l cross join lateral (
                select r.* from jobs.ready r
                where r.queue = l.queue and r.priority = l.priority and r.family_id is null and r.id < top and r.id >= floor
                order by r.id desc limit looks
            ) r
            where only_family is null
            union all
            select r.id, 'available', r.queue, r.kind, r.priority, r.attempt, r.attempts_max, r.family_id, r.meta, null, null, null, null
            from lanes l cross join lateral (
                select r.* from jobs.ready r
                where r.queue = l.queue and r.priority = l.priority and r.family_id = only_family and r.id < top and r.id >= floor
                order by r.id desc limit looks
            ) r
            where only_family is not null
            union all
            select r.id, 'available', r.queue, r.kind, r.priority, r.attempt, r.attempts_max, r.family_id, r.meta, null, null, null, null
            from jobs.queues q cross join lateral (
                select r.* from jobs.ready r
                where r.queue = q.id and r.family_id is not null and r.id < top and r.id >= floor
                order by r.id desc limit looks
            ) r
            where only_family is null and (only_state is null or only_state = 'available') and (only_queue is null or q.id = only_queue)
            union all
            (select w.id, 'available', w.queue, w.kind, w.priority, w.attempt, w.attempts_max, w.family_id, w.meta, null, null, null, null
            from jobs.waiting w
            where (only_state is null or only_state = 'available') and w.id < top and w.id >= floor
            order by w.id desc limit looks)
            union all
            (select s.id, 'available', s.queue, s.kind, s.priority, s.attempt, s.attempts_max, s.family_id, s.meta, null, null, null, null
            from jobs.suspects s
            where (only_state is null or only_state = 'available') and s.id < top and s.id >= floor
            order by s.id desc limit looks)
            union all
            (select l.id, case when l.attempt = 0 then 'scheduled' else 'retryable' end, l.queue, l.kind, l.priority, l.attempt,
                l.attempts_max, l.family_id, l.meta, null, l.run_at, null, null
            from jobs.later l
            where (only_state is null or only_state = 'scheduled') and l.id < top and l.id >= floor
            order by l.id desc limit looks)
            union all
            select l.id, 'retryable', l.queue, l.kind, l.priority, l.attempt, l.attempts_max, l.family_id, l.meta, null, l.run_at, null, null
            from jobs.queues q cross join lateral (
                select l.* from jobs.later l
                where l.queue = q.id and l.attempt > 0 and l.id < top and l.id >= floor
                order by l.id desc limit looks
            ) l
            where only_state = 'retryable' and (only_queue is null or q.id = only_queue)
            union all
            (select j.id, 'running', l.queue, j.kind, j.priority, j.attempt, j.attempts_max, j.family_id, j.meta, null, null,
                l.claimed_at, null
            from jobs.leases l cross join lateral unnest(l.ids, l.priorities, l.attempts, l.attempts_max, l.kinds, l.families, l.metas)
                as j (id, priority, attempt, attempts_max, kind, family_id, meta)
            where (only_state is null or only_state = 'running') and (only_queue is null or l.queue = only_queue)
                and j.id < top and j.id >= floor and j.id <> all (l.done)
            order by j.id desc limit looks)
            union all
            (select d.id, 'discarded', d.queue, d.kind, d.priority, d.attempt, d.attempts_max, d.family_id, d.meta, d.error, null, null,
                d.failed_at
            from jobs.dead d
            where (only_state is null or only_state = 'discarded') and only_kind is null and only_queue is null
                and d.id < top and d.id >= floor
            order by d.id desc limit looks)
            union all
            (select d.id, 'discarded', d.queue, d.kind, d.priority, d.attempt, d.attempts_max, d.family_id, d.meta, d.error, null, null,
                d.failed_at
            from jobs.dead d
            where (only_state is null or only_state = 'discarded') and d.kind = only_kind and d.id < top and d.id >= floor
            order by d.id desc limit looks)
            union all
            (select d.id, 'discarded', d.queue, d.kind, d.priority, d.attempt, d.attempts_max, d.family_id, d.meta, d.error, null, null,
                d.failed_at
            from jobs.dead d
            where (only_state is null or only_state = 'discarded') and only_kind is null and d.queue = only_queue
                and d.id < top and d.id >= floor
            order by d.id desc limit looks)
            union all
            (select f.id, f.state, f.queue, f.kind, null, f.attempt, null, f.family_id, f.meta, null, null, f.claimed_at, f.finished_at
            from jobs.finished f
            where (only_state is null or only_state in ('completed', 'cancelled')) and f.id < top and f.id >= floor
            order by f.id desc limit looks)
        ) u
        order by u.id desc limit looks
    ), shown as (
        select l.* from looked l
        where (only_state is null or l.state = only_state) and (only_kind is null or l.kind = only_kind)
            and (only_queue is null or l.queue = only_queue) and (only_family is null or l.family_id = only_family)
            and (only_tag is null or l.meta -> 'tags' ? only_tag)
        order by l.id desc limit jobs_max
    ), ends as (
        select case
            when (select count(*) from shown) = jobs_max then (select min(s.id) from shown s)
            when (select count(*) from looked) = looks then (select min(l.id) from looked l)
        end as next
    )
    select e.next, s.id, s.state, s.queue, s.kind, s.priority, s.attempt, s.attempts_max, s.family_id, s.meta -> 'tags',
        -- What has come to a good end, or to the one that somebody wanted, has errors of attempts before it and is none.
        case when s.state not in ('completed', 'cancelled') then coalesce(s.error, s.meta -> 'errors' -> -1) ->> 'code' end, s.run_at, s.claimed_at, s.finished_at
    from ends e left join shown s on true
    order by s.id desc;
end
$$;

-- What is in each queue. Jobs are counted up to `counted_to` for each number, because counting a million takes longer than
-- anybody waits: a number that high is "at least", and `scheduled` is counted together with `retryable`. `oldest_at` is when the
-- oldest available job was enqueued (of those that wait for their concurrency key: when it is among the 1000 oldest).
-- Index Only Scans on ready_fetch, ready_family_job, later_due, later_retried and dead_queue.
create function jobs.queue_stats(counted_to integer, only_name text default null)
    returns table (
        id smallint, available bigint, scheduled bigint, retryable bigint, running bigint, discarded bigint, oldest_at timestamptz
    )
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_bitmapscan = off
    set max_parallel_workers_per_gather = 0
    set jit = off
as $$
begin
    return query
    with held as materialized (
        select l.queue, sum(cardinality(l.ids) - cardinality(l.done))::bigint as jobs from jobs.leases l group by l.queue
    ), old as materialized (
        select o.queue, min(o.id) as id from (
            select w.queue, w.id from jobs.waiting w order by w.id limit 1000
        ) o group by o.queue
    )
    select q.id,
        least(counted_to, (select count(*) from (select from jobs.ready r where r.queue = q.id and r.family_id is null limit counted_to) n)
            + (select count(*) from (select from jobs.ready r where r.queue = q.id and r.family_id is not null limit counted_to) n)
            + (select count(*) from (select from jobs.waiting w where w.queue = q.id limit counted_to) n)
            + (select count(*) from (select from jobs.suspects s where s.queue = q.id limit counted_to) n)),
        (select count(*) from (select from jobs.later l where l.queue = q.id limit counted_to) n) - n.retryable,
        n.retryable,
        coalesce((select h.jobs from held h where h.queue = q.id), 0),
        (select count(*) from (select from jobs.dead d where d.queue = q.id limit counted_to) n),
        jobs.created_at((
            select min(f.id) from (
                select r.id from generate_series(0, 9) as p (n) cross join lateral (
                    select r.id from jobs.ready r
                    where r.queue = q.id and r.priority = p.n::smallint and r.family_id is null order by r.id limit 1
                ) r
                union all
                (select r.id from jobs.ready r where r.queue = q.id and r.family_id is not null order by r.id limit 1)
                union all
                select o.id from old o where o.queue = q.id
                union all
                (select s.id from jobs.suspects s where s.queue = q.id order by s.id limit 1)
            ) f
        ))
    from jobs.queues q cross join lateral (
        select count(*) as retryable from (select from jobs.later l where l.queue = q.id and l.attempt > 0 limit counted_to) n
    ) n
    where only_name is null or q.name = only_name;
end
$$;

-- Jobs of a queue that run.
create function jobs.running_in(queue_id smallint) returns bigint
    language sql stable
    begin atomic
        select coalesce(sum(cardinality(l.ids) - cardinality(l.done)), 0)::bigint from jobs.leases l where l.queue = queue_id;
    end;

-- A line that a job writes down; the newest 100 are kept.
create function jobs.write_log(job_id bigint, level text, message text) returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobs.append_logs(job_id, array[level], array[left(message, 4000)]);
end
$$;

-- How far a job is. Not for the disk: what a crash loses is said again.
create function jobs.write_progress(job_id bigint, progress jsonb) returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_column_size(write_progress.progress) > 16384 then
        perform jobs.refuse('progress', 'at most 16384 bytes', null);
    end if;
    insert into jobs.progress as p (id, progress) values (job_id, write_progress.progress)
    on conflict (id) do update set progress = excluded.progress, at = excluded.at;
end
$$;
