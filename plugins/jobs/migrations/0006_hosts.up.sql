-- Hosts: who is alive, and what becomes of the jobs of one that is not.

-- A host's look around, every two and a half seconds: says that it lives, that its idle queues wake it, and learns what there is to do.
-- `is_alive` is false when somebody has declared it dead: what it holds has been given to others.
create function jobs.tick(
    host_id uuid, sleeping smallint[], out is_alive boolean, out cancels bigint[], out queues smallint[], out now timestamptz
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set jit = off
as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    now := clock_timestamp();
    update jobs.hosts h set seen_at = tick.now where h.id = host_id;
    is_alive := found;
    if cardinality(sleeping) > 0 then
        insert into jobs.sleepers as s (queue, worker, until) select q, host_id, tick.now + interval '5 seconds' from unnest(sleeping) q
        on conflict (queue, worker) do update set until = excluded.until;
    end if;
    if exists (select from jobs.cancels) then
        perform jobs.apply_cancels();
        select array_agg(c.id) into cancels from jobs.cancels c join jobs.leases l on c.id = any (l.ids) where l.host = host_id;
    end if;
    select array_agg(q.id) into queues from jobs.queues q
    where (q.worker = 'host' or q.id = any (sleeping)) and q.paused_at is null and jobs.has_work(q.id);
    if exists (select from jobs.hosts h where h.seen_at < tick.now - interval '5 seconds')
        or exists (select from jobs.leases l where l.expires_at < tick.now) then
        perform jobs.rescue();
    end if;
    if exists (select from jobs.untold) then
        perform jobs.tell();
    end if;
end
$$;

-- Whether something may be claimed now, or is due before the next look around: who looks then learns when.
create function jobs.has_work(queue_id smallint) returns boolean
    language sql stable
    return exists (select from jobs.ready r where r.queue = queue_id)
        or exists (select from jobs.later l where l.queue = queue_id and l.run_at <= statement_timestamp() + interval '3 seconds')
        or exists (select from jobs.suspects s where s.queue = queue_id)
        or exists (select from jobs.freed f where f.queue = queue_id);

-- Gives the unfinished jobs of leases back. The attempt was counted when it was claimed, so a job is not tried for ever. A
-- job that was running in a crash twice is a suspect and runs alone from then on; a third crash while it does so is its own. When
-- its host had other jobs as well, it may have been one of those: then it takes five.
create function jobs.put_back(lease_ids uuid[], code text, message text, is_crash boolean) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint;
begin
    with gone as (
        delete from jobs.leases l where l.id = any (lease_ids) returning l.*
    ), lost as (
        select g.id as lease, g.host, g.claimed_at, g.queue, g.is_suspect, j.*, is_crash::integer + coalesce((j.meta ->> 'crashes')::integer, 0) as crashes,
            exists (select from jobs.cancels c where c.id = j.id) as is_unwanted,
            jsonb_build_object('attempt', j.attempt, 'at', clock_timestamp(), 'code', code, 'message', message) as error
        from gone g cross join lateral unnest(g.ids, g.priorities, g.attempts, g.attempts_max, g.kinds, g.families, g.concurrency_keys,
            g.rate_keys, g.metas, g.payloads)
            as j (id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload)
        where j.id <> all (g.done)
    ), counted as (
        select l.*, l.is_suspect and l.crashes >= case when count(*) over (partition by l.host) = 1 then 3 else 5 end as is_guilty
        from lost l
    ), judged as (
        select l.*, case when l.is_unwanted then 'cancelled' when l.is_guilty or l.attempt >= l.attempts_max then 'dead'
            when l.crashes >= 2 then 'suspect' else 'ready' end as fate,
            jobs.with_error(l.meta, l.error) || case when is_crash then jsonb_build_object('crashes', l.crashes) else '{}' end as new_meta
        from counted l
    ), to_ready as (
        insert into jobs.ready
        select j.id, j.queue, j.priority, j.attempt, j.attempts_max, j.kind, j.family_id, j.concurrency_key, j.rate_key, j.new_meta, j.payload
        from judged j where j.fate = 'ready'
    ), to_suspects as (
        insert into jobs.suspects
        select j.id, j.queue, j.priority, j.attempt, j.attempts_max, j.kind, j.family_id, j.concurrency_key, j.rate_key, j.new_meta, j.payload
        from judged j where j.fate = 'suspect'
    ), free as (
        insert into jobs.freed (queue, concurrency_key)
        select distinct j.queue, j.concurrency_key
        from judged j join jobs.queues q on q.id = j.queue and q.running_per_key_max is not null
        where j.concurrency_key is not null and j.fate in ('ready', 'suspect')
    ), ended as (
        select jobs.end_jobs(array_agg(row(
            j.lease, j.host, j.claimed_at, j.id, j.queue, j.priority, j.attempt, j.attempts_max, j.kind, j.family_id, j.concurrency_key,
            j.rate_key, j.meta, j.payload, case j.fate when 'dead' then 'discarded' else 'cancelled' end, null,
            case when j.is_guilty then j.error || jsonb_build_object('code', 'JOB_KILLS_HOST', 'message', format('the host died %s times while it ran', j.crashes))
                else j.error end,
            null, true, true
        )::jobs.ending)) from judged j where j.fate in ('dead', 'cancelled') having count(*) > 0
    )
    select (select count(*) from judged) + (select count(*) from ended) * 0 into moved;
    return moved;
end
$$;

-- Looks for hosts that have died and gives their jobs back, at most some thousand at a time; how many. A host is dead when
-- nobody holds its lock and it has not been seen for 5 s, or when it has not been seen for 15 s (one that was stopped, or
-- whose lock a pooler holds). After a restart of the server all locks are free: everybody gets 10 s to come back.
create function jobs.rescue() returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    gone record;
    batch uuid[];
    moved bigint := 0;
begin
    if pg_postmaster_start_time() > clock_timestamp() - interval '10 seconds' then
        return 0;
    end if;
    for gone in
        select h.id, h.name from jobs.hosts h
        where h.seen_at < clock_timestamp() - interval '5 seconds'
            and (pg_try_advisory_xact_lock(1852138093, h.lock) or h.seen_at < clock_timestamp() - interval '15 seconds')
        for update skip locked
    loop
        select array_agg(l.id) into batch from (select id from jobs.leases where host = gone.id limit 1000) l;
        if batch is not null then
            moved := moved + jobs.put_back(batch, 'HOST_DIED', format('the host %s died while it ran', gone.name), true);
        end if;
        if not exists (select from jobs.leases l where l.host = gone.id) then
            delete from jobs.sleepers s where s.worker = gone.id;
            delete from jobs.hosts h where h.id = gone.id;
        end if;
    end loop;
    -- What no host is known for: a host that was declared dead between its claim and the commit.
    select array_agg(l.id) into batch from (
        select l.id from jobs.leases l where l.host is not null and l.claimed_at < clock_timestamp() - interval '5 seconds'
            and not exists (select from jobs.hosts h where h.id = l.host) limit 1000
    ) l;
    if batch is not null then
        moved := moved + jobs.put_back(batch, 'HOST_DIED', 'the host died while it ran', true);
    end if;
    select array_agg(l.id) into batch from (
        select l.id from jobs.leases l where l.expires_at < clock_timestamp() order by l.expires_at limit 1000 for update skip locked
    ) l;
    if batch is not null then
        moved := moved + jobs.put_back(batch, 'LEASE_EXPIRED', 'the worker was not heard of in time', false);
    end if;
    return moved;
end
$$;

-- Gives jobs of a host back as if they had not been begun: all of its leases, or those of which it never had the answer. Those
-- that somebody wanted to end are ended.
create function jobs.unclaim(host_id uuid, lease_ids uuid[] default null) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint[];
begin
    with gone as (
        delete from jobs.leases l where l.host = host_id and (lease_ids is null or l.id = any (lease_ids)) returning l.*
    ), back as (
        insert into jobs.ready
        select j.id, g.queue, j.priority, (j.attempt - 1)::smallint, j.attempts_max, j.kind, j.family_id, j.concurrency_key, j.rate_key, j.meta, j.payload
        from gone g cross join lateral unnest(g.ids, g.priorities, g.attempts, g.attempts_max, g.kinds, g.families, g.concurrency_keys,
            g.rate_keys, g.metas, g.payloads)
            as j (id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload)
        where j.id <> all (g.done)
        returning id, queue, concurrency_key
    ), free as (
        insert into jobs.freed (queue, concurrency_key)
        select distinct b.queue, b.concurrency_key
        from back b join jobs.queues q on q.id = b.queue and q.running_per_key_max is not null
        where b.concurrency_key is not null
    )
    select array_agg(b.id) into moved from back b;
    perform jobs.cancel(c.id, 'cancelled while it ran') from jobs.cancels c where c.id = any (moved);
    return coalesce(cardinality(moved), 0);
end
$$;

-- A host that ends gives back what it could not finish.
create function jobs.hand_back(host_id uuid) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint := jobs.unclaim(host_id);
begin
    delete from jobs.sleepers s where s.worker = host_id;
    delete from jobs.hosts h where h.id = host_id;
    return moved;
end
$$;

-- One suspect for a host that has none, within the limits of its queue.
create function jobs.claim_suspect(queue_id smallint, host_id uuid, lease_id uuid) returns setof jobs.leases
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    q jobs.queues;
begin
    select * into strict q from jobs.queues where id = queue_id;
    if q.paused_at is not null
        or not pg_try_advisory_xact_lock(1852138092, queue_id)
        or exists (select from jobs.leases l where l.host = host_id and l.is_suspect)
        or q.running_max <= (select coalesce(sum(cardinality(l.ids) - cardinality(l.done)), 0) from jobs.leases l where l.queue = queue_id) then
        return;
    end if;
    return query
    with taken as (
        delete from jobs.suspects s where s.queue = queue_id and s.id = (
            select f.id from jobs.suspects f left join jobs.running_keys(queue_id) r on r.concurrency_key = f.concurrency_key
            where f.queue = queue_id and (q.running_per_key_max is null or coalesce(r.running, 0) < q.running_per_key_max)
            order by f.id limit 1
        )
        returning s.*
    )
    insert into jobs.leases (id, host, queue, is_suspect, is_limited, ids, priorities, attempts, attempts_max, kinds, families, concurrency_keys,
        rate_keys, metas, payloads)
    select lease_id, host_id, t.queue, true, q.running_max is not null or q.running_per_key_max is not null, array[t.id], array[t.priority], array[(t.attempt + 1)::smallint], array[t.attempts_max],
        array[t.kind], array[t.family_id], array[t.concurrency_key], array[t.rate_key], array[t.meta], array[t.payload]
    from taken t
    returning leases.*;
end
$$;

-- Gives jobs that run for long leases of their own, so that a batch does not wait for its slowest job. Asked again after an
-- answer that was lost, it says the same.
create function jobs.split(host_id uuid, lease_id uuid, job_ids bigint[]) returns table (id bigint, lease uuid)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with old as (
        select l.* from jobs.leases l where l.id = lease_id and l.host = host_id and cardinality(l.ids) > 1 for update
    ), own as (
        insert into jobs.leases (id, host, queue, claimed_at, is_limited, ids, priorities, attempts, attempts_max, kinds, families,
            concurrency_keys, rate_keys, metas, payloads)
        select gen_random_uuid(), host_id, o.queue, o.claimed_at, o.is_limited, array[j.id], array[j.priority], array[j.attempt], array[j.attempts_max],
            array[j.kind], array[j.family_id], array[j.concurrency_key], array[j.rate_key], array[j.meta], array[j.payload]
        from old o cross join lateral unnest(o.ids, o.priorities, o.attempts, o.attempts_max, o.kinds, o.families, o.concurrency_keys,
            o.rate_keys, o.metas, o.payloads)
            as j (id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload)
        where j.id = any (job_ids) and j.id <> all (o.done)
        returning leases.id as lease, leases.ids[1] as id
    ), moved as (
        select array_agg(own.id) as ids from own
    ), gone as (
        delete from jobs.leases l using old o, moved m
        where l.id = o.id and cardinality(o.done) + cardinality(m.ids) >= cardinality(o.ids)
    ), rest as (
        update jobs.leases l set done = o.done || m.ids from old o, moved m
        where l.id = o.id and cardinality(o.done) + cardinality(m.ids) < cardinality(o.ids)
    )
    select own.id, own.lease from own
    union all
    select l.ids[1], l.id from jobs.leases l
    where l.host = host_id and l.id <> lease_id and cardinality(l.ids) = 1 and l.ids[1] = any (job_ids);
end
$$;
