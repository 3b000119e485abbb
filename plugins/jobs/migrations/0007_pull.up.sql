-- Workers in any language, over HTTP: they fetch jobs of a queue with `worker = 'pull'`, one lease for each, and say how each
-- ended with the lease as their proof. A lease ends by itself when its worker is not heard of.

-- Fetches at most `wanted` jobs: what was picked, and beside each job its lease. `status` is also `unknown` when there is no
-- queue of that name, and `not_pull` when hosts work on it. A host that finds nothing for a worker that waits is marked as
-- asleep for the queue, as by `jobs.claim`.
create function jobs.fetch(
    queue_name text, worker_name text, wanted integer, lease_seconds double precision, low bigint[],
    is_whole boolean, turn uuid, sleeper uuid,
    out picked jobs.picked, out queue_id smallint, out has_limits boolean, out leases uuid[], out held_until timestamptz
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    held_by text;
begin
    select q.id, q.worker, q.running_max is not null or q.running_per_key_max is not null or q.rate_per_second is not null
    into queue_id, held_by, has_limits from jobs.queues q where q.name = queue_name;
    if held_by is distinct from 'pull' then
        picked.status := case when held_by is null then 'unknown' else 'not_pull' end;
        picked.low := low;
        return;
    end if;
    picked := jobs.pick(queue_id, wanted, low, is_whole, turn);
    if picked.ids is not null then
        -- Here a claim that is lost would be a job that a stranger works on and nobody knows of: it waits for the disk.
        perform set_config('synchronous_commit', 'on', true);
        leases := array(select gen_random_uuid() from unnest(picked.ids));
        held_until := clock_timestamp() + make_interval(secs => lease_seconds);
        insert into jobs.leases (id, worker, expires_at, queue, is_limited, ids, priorities, attempts, attempts_max, kinds, families,
            concurrency_keys, rate_keys, metas, payloads)
        select j.lease, worker_name, held_until, queue_id, picked.is_limited, array[j.id], array[j.priority], array[j.attempt],
            array[j.attempts_max], array[j.kind], array[j.family_id], array[j.concurrency_key], array[j.rate_key], array[j.meta],
            array[j.payload]
        from unnest(leases, picked.ids, picked.priorities, picked.attempts, picked.attempts_max, picked.kinds, picked.families,
            picked.concurrency_keys, picked.rate_keys, picked.metas, picked.payloads)
            as j (lease, id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload);
        if array_position(picked.payloads, null::jsonb) is not null then
            -- The lease goes without the large ones, the worker does not.
            select array_agg(coalesce(j.payload, p.body) order by j.at),
                array_agg(case when p.previous is null then j.meta else j.meta || jsonb_build_object('previous', p.previous) end order by j.at)
            into picked.payloads, picked.metas
            from unnest(picked.ids, picked.payloads, picked.metas) with ordinality as j (id, payload, meta, at)
            left join jobs.payloads p on p.id = j.id and j.payload is null;
        end if;
        delete from jobs.sleepers s where s.queue = queue_id and s.worker = sleeper;
    elsif (picked.status = 'taken' or (picked.status = 'limited' and picked.is_limited)) and sleeper is not null then
        perform jobs.fall_asleep(queue_id, sleeper, picked.status = 'limited');
    end if;
end
$$;

-- Workers live: their leases are good for that long from now. Each that is still held, and whether its job is still wanted.
create function jobs.beat(lease_ids uuid[], lease_seconds double precision[], progresses jsonb[])
    returns table (lease uuid, is_wanted boolean, expires_at timestamptz)
    language sql volatile
    begin atomic
        update jobs.leases l
        set expires_at = clock_timestamp() + make_interval(secs => b.seconds), progress = coalesce(b.progress, l.progress)
        from unnest(lease_ids, lease_seconds, progresses) as b (lease, seconds, progress)
        where l.id = b.lease and l.host is null and l.expires_at > clock_timestamp()
        returning l.id, not exists (select from jobs.cancels c where c.id = l.ids[1]), l.expires_at;
    end;

-- How jobs ended that workers have fetched, by their leases; what became of those that were still theirs, how long they had
-- them, and in which queue a place is free now. No lease twice.
create function jobs.settle_fetched(lease_ids uuid[], states text[], results jsonb[], errors jsonb[], delays double precision[])
    returns table (
        lease uuid, id bigint, queue smallint, queue_name text, kind text, attempt smallint, held_seconds double precision, state text
    )
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    job_ids bigint[];
    queues smallint[];
    kinds text[];
    attempts smallint[];
    times timestamptz[];
begin
    select array_agg(coalesce(l.ids[1], 0) order by o.at), array_agg(l.queue order by o.at), array_agg(l.kinds[1] order by o.at),
        array_agg(l.attempts[1] order by o.at), array_agg(l.claimed_at order by o.at)
    into job_ids, queues, kinds, attempts, times
    from unnest(lease_ids) with ordinality as o (lease, at) left join jobs.leases l on l.id = o.lease and l.host is null;
    return query
    select o.lease, s.id, o.queue, q.name, o.kind, o.attempt, extract(epoch from clock_timestamp() - o.claimed_at)::double precision, s.state
    from jobs.settle(null, lease_ids, job_ids, states, results, errors, delays) s
    join unnest(lease_ids, job_ids, queues, kinds, attempts, times) as o (lease, id, queue, kind, attempt, claimed_at) on o.id = s.id
    join jobs.queues q on q.id = o.queue;
end
$$;

-- What a job writes down: the newest 100 lines stay.
create function jobs.append_logs(job_id bigint, levels text[], messages text[]) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into jobs.logs (id, level, message)
    select job_id, n.level, n.message from unnest(levels, messages) with ordinality as n (level, message, at) order by n.at;
    delete from jobs.logs l where l.id = job_id and l.number <= (
        select o.number from jobs.logs o where o.id = job_id order by o.number desc offset 100 limit 1
    );
end
$$;

-- The same for the job of a lease; whether it is still held.
create function jobs.append_fetched_logs(lease_id uuid, levels text[], messages text[]) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    job_id bigint;
begin
    select l.ids[1] into job_id from jobs.leases l where l.id = lease_id and l.host is null and l.expires_at > clock_timestamp();
    if job_id is null then
        return false;
    end if;
    perform jobs.append_logs(job_id, levels, messages);
    return true;
end
$$;
