-- The end of a family: nothing stays of the jobs that name it. Those that run are asked to end, and go when they have.

-- Families that are gone for good. They are looked for again for a while: somebody may enqueue for one without knowing.
create table jobs.gone_families (
    family_id uuid constraint gone_families_pkey primary key,
    gone_at timestamptz not null default clock_timestamp()
);

-- Takes away all that is left of jobs that have ended, also the keys that they hold until a time.
create function jobs.forget_ended(job_ids bigint[]) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set jit = off
as $$
begin
    with of_finished as (
        delete from jobs.finished f where f.id = any (job_ids) returning f.id, f.queue, f.meta
    ), of_dead as (
        delete from jobs.dead d where d.id = any (job_ids) returning d.id, d.queue, d.meta
    )
    delete from jobs.uniques u using (select f.* from of_finished f union all select d.* from of_dead d) g
    where g.meta ? 'unique' and u.queue = g.queue and u.key = decode(g.meta ->> 'unique', 'hex') and u.id = g.id;
    delete from jobs.payloads p where p.id = any (job_ids);
    delete from jobs.logs l where l.id = any (job_ids);
    delete from jobs.progress p where p.id = any (job_ids);
end
$$;

-- Takes away at most `jobs_max` jobs of a family that is gone, with all that hangs on them; how many. Call again until it is
-- nothing: what is claimed or given back meanwhile is found then. Each call does one thing, so that it locks in the order in which others do.
create function jobs.forget_family(gone uuid, jobs_max integer) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    batch_ids uuid[];
    endings jobs.ending[];
    ids bigint[];
    holders uuid[];
begin
    -- First its batches: they end without a word, and nothing follows from them.
    batch_ids := array(select b.id from jobs.batches b where b.family_id = gone order by b.id limit jobs_max);
    if batch_ids <> '{}' then
        perform jobs.lock_batches(batch_ids);
        delete from jobs.batch_jobs m where m.batch = any (batch_ids);
        delete from jobs.batches b where b.id = any (batch_ids);
        return cardinality(batch_ids);
    end if;

    with of_ready as (
        delete from jobs.ready r where r.ctid = any (array(
            select o.ctid from jobs.queues q cross join generate_series(0, 9) as p (n) cross join lateral (
                select r.ctid from jobs.ready r
                where r.queue = q.id and r.priority = p.n::smallint and r.family_id = gone order by r.id limit jobs_max
            ) o
            limit jobs_max
        )) returning r.*
    ), of_later as (
        delete from jobs.later l where l.id = any (array(select o.id from jobs.later o where o.family_id = gone limit jobs_max))
        returning l.*
    ), of_waiting as (
        delete from jobs.waiting w where w.id = any (array(select o.id from jobs.waiting o where o.family_id = gone limit jobs_max))
        returning w.*
    ), of_suspects as (
        delete from jobs.suspects s where s.family_id = gone returning s.*
    ), unwanted as (
        select r.* from of_ready r
        union all
        select l.id, l.queue, l.priority, l.attempt, l.attempts_max, l.kind, l.family_id, l.concurrency_key, l.rate_key, l.meta, l.payload
        from of_later l
        union all
        select w.* from of_waiting w
        union all
        select s.* from of_suspects s
    )
    select array_agg(row(
        null, null, null, u.id, u.queue, u.priority, u.attempt, u.attempts_max, u.kind, u.family_id, u.concurrency_key, u.rate_key, u.meta,
        u.payload, 'cancelled', null, null, null, false, false
    )::jobs.ending) into endings from unwanted u;
    if endings is not null then
        insert into jobs.cancels (id, is_forgotten) select e.id, true from unnest(endings) e
        on conflict (id) do update set is_forgotten = true;
        perform jobs.end_jobs(endings);
        return cardinality(endings);
    end if;

    -- Those that run. Their leases are locked, so that none of them ends before it is known that nothing may stay of it.
    perform from jobs.leases l where gone = any (l.families) order by l.id for update;
    select array_agg(j.id), array_agg(distinct l.host) filter (where l.host is not null) into ids, holders
    from jobs.leases l cross join lateral unnest(l.ids, l.families) as j (id, family_id)
    where gone = any (l.families) and j.family_id = gone and j.id <> all (l.done)
        and not exists (select from jobs.cancels c where c.id = j.id and c.is_forgotten);
    if ids is not null then
        insert into jobs.cancels (id, is_forgotten) select j, true from unnest(ids) j
        on conflict (id) do update set is_forgotten = true;
        perform pg_notify('nself_jobs', 'cancel ' || h) from unnest(holders) h;
        return cardinality(ids);
    end if;

    ids := array(select d.id from jobs.dead d where d.family_id = gone limit jobs_max);
    perform jobs.forget_ended(ids);
    delete from jobs.untold u where u.family_id = gone;
    return cardinality(ids);
end
$$;

-- The same for finished jobs, of which there may be many millions: looks at `looks_max` of them, in the order of their ids
-- after `after`. `last` is where the look ended, null at the end of all.
create function jobs.forget_finished(gone uuid, after bigint, looks_max integer, out last bigint, out forgotten bigint)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_bitmapscan = off
    set max_parallel_workers_per_gather = 0
    set jit = off
as $$
declare
    ids bigint[];
begin
    select max(f.id), coalesce(array_agg(f.id) filter (where f.family_id = gone), '{}') into last, ids
    from (select o.id, o.family_id from jobs.finished o where o.id > after order by o.id limit looks_max) f;
    perform jobs.forget_ended(ids);
    forgotten := cardinality(ids);
end
$$;
