-- Ending jobs. Whatever a worker says about a job names the lease that it holds; what it says about a lease that was taken
-- away from it changes nothing and is not in the answer.

-- The hot path: leases of which every job was completed and is plain (no result, no options, payload in place). Returns the
-- leases that were still the host's. Its plan is made once for each connection: a function in SQL has it made anew at every call,
-- which took longer than all it does for a small lease. So it must not depend on what statistics say of a table that is empty at one
-- moment and full at the next.
create function jobs.complete(host_id uuid, lease_ids uuid[], is_kept boolean) returns setof uuid
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    with gone as (
        delete from jobs.leases l where l.id = any (lease_ids) and l.host = host_id returning l.*
    ), kept as (
        insert into jobs.finished (id, queue, state, attempt, worker, claimed_at, kind, family_id, payload)
        select j.id, g.queue, 'completed', j.attempt, host_id, g.claimed_at, j.kind, j.family_id, j.payload
        from gone g cross join lateral unnest(g.ids, g.attempts, g.kinds, g.families, g.payloads) as j (id, attempt, kind, family_id, payload)
        where is_kept and (g.done = '{}' or j.id <> all (g.done))
    )
    select g.id from gone g;
end
$$;

-- How a job ended, with all that is known of it.
create type jobs.ending as (
    lease uuid,
    worker uuid,
    claimed_at timestamptz,
    id bigint,
    queue smallint,
    priority smallint,
    attempt smallint,
    attempts_max smallint,
    kind text,
    family_id uuid,
    concurrency_key text,
    rate_key text,
    meta jsonb,
    payload jsonb,
    -- completed, cancelled, discarded, retryable, snoozed
    state text,
    result jsonb,
    error jsonb,
    run_at timestamptz,
    is_kept boolean,
    is_announced boolean
);

-- Everything else: each job with its own ending. `holder` is the host, or null for workers that fetched a lease, whose token
-- is the lease itself. A `failed` job becomes retryable, after the delay that its worker or its policy says, or discarded.
-- Returns the jobs that were still theirs, and what became of them.
create function jobs.settle(
    holder uuid, lease_ids uuid[], job_ids bigint[], states text[], results jsonb[], errors jsonb[], delays double precision[]
) returns table (id bigint, state text)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    endings jobs.ending[];
begin
    -- In the order of the ids, so that two who settle wait for each other and do not deadlock.
    perform from jobs.leases l where l.id = any (lease_ids) and l.host is not distinct from holder order by l.id for update;
    -- The leases are taken apart once, and then joined: lease by lease and job by job the work would grow with its square.
    with held as materialized (
        select l.id as lease, l.host, l.claimed_at, l.queue, j.*
        from jobs.leases l
        cross join lateral unnest(l.ids, l.priorities, l.attempts, l.attempts_max, l.kinds, l.families, l.concurrency_keys, l.rate_keys,
            l.metas, l.payloads)
            as j (id, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload)
        where l.id = any (lease_ids) and l.host is not distinct from holder
            and (l.expires_at is null or l.expires_at > clock_timestamp()) and (l.done = '{}' or j.id <> all (l.done))
    )
    select array_agg(row(
        f.lease, f.host, f.claimed_at, f.id, f.queue, f.priority, f.attempt, f.attempts_max, f.kind, f.family_id, f.concurrency_key,
        f.rate_key, f.meta, f.payload,
        case when f.state <> 'failed' then f.state when f.delay is null then 'discarded' else 'retryable' end,
        f.result, f.error, clock_timestamp() + f.delay,
        case f.keep when 'all' then true when 'failed' then f.state <> 'completed' else false end, f.is_announced
    )::jobs.ending) into endings
    from (
        select j.*, o.result,
            -- What somebody wants to end is not tried again.
            case when o.state in ('failed', 'snoozed') and exists (select from jobs.cancels c where c.id = j.id) then 'cancelled' else o.state end as state,
            o.error || jsonb_build_object('attempt', j.attempt, 'at', clock_timestamp()) as error,
            coalesce(j.meta ->> 'keep', k.keep, 'all') as keep, coalesce(k.is_announced, false) as is_announced,
            case when o.state = 'snoozed' or (o.state = 'failed' and o.delay is not null and j.attempt < j.attempts_max)
                    then make_interval(secs => o.delay)
                when o.state = 'failed' and j.attempt < j.attempts_max
                    then jobs.retry_delay(coalesce(j.meta -> 'retry', k.retry), j.attempt, o.error ->> 'code')
            end as delay
        from unnest(lease_ids, job_ids, states, results, errors, delays) as o (lease, id, state, result, error, delay)
        join held j on j.lease = o.lease and j.id = o.id
        left join jobs.kinds k on k.kind = j.kind
    ) f;
    if endings is null then
        return;
    end if;

    with ended as (
        select e.lease, array_agg(e.id) as ids from unnest(endings) e group by e.lease
    ), gone as (
        delete from jobs.leases l using ended e where l.id = e.lease and cardinality(l.done) + cardinality(e.ids) = cardinality(l.ids)
    )
    update jobs.leases l set done = l.done || e.ids
    from ended e where l.id = e.lease and cardinality(l.done) + cardinality(e.ids) < cardinality(l.ids);

    perform jobs.end_jobs(endings);
    return query select e.id, e.state from unnest(endings) e;
end
$$;

-- Writes down how jobs ended that are in no lease any more, and does what follows from it.
create function jobs.end_jobs(endings jobs.ending[]) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    ending jobs.ending;
    forgotten bigint[] := '{}';
begin
    if exists (select from jobs.cancels) then
        with gone as (
            delete from jobs.cancels c using unnest(endings) e where c.id = e.id returning c.id, c.is_forgotten
        )
        select coalesce(array_agg(g.id), '{}') into forgotten from gone g where g.is_forgotten;
    end if;

    insert into jobs.finished (id, queue, state, attempt, worker, claimed_at, kind, family_id, meta, payload, result)
    select e.id, e.queue, e.state, e.attempt, e.worker, e.claimed_at, e.kind, e.family_id, e.meta, e.payload, e.result
    from unnest(endings) e where e.state in ('completed', 'cancelled') and e.is_kept;

    -- A snoozed attempt did not happen; of a failed one the error is kept, the newest 20 of them.
    insert into jobs.later
    select e.id, e.queue, e.priority, (e.attempt - case e.state when 'snoozed' then 1 else 0 end)::smallint, e.attempts_max, e.kind,
        e.family_id, e.concurrency_key, e.rate_key, jobs.with_error(e.meta, e.error), e.payload, e.run_at
    from unnest(endings) e where e.state in ('retryable', 'snoozed');

    insert into jobs.dead (id, queue, priority, attempt, attempts_max, kind, family_id, concurrency_key, rate_key, meta, payload, error)
    select e.id, e.queue, e.priority, e.attempt, e.attempts_max, e.kind, e.family_id, e.concurrency_key, e.rate_key,
        jobs.with_error(e.meta, e.error), e.payload, coalesce(e.error, '{}')
    from unnest(endings) e where e.state = 'discarded';

    insert into jobs.freed (queue, concurrency_key)
    select distinct e.queue, e.concurrency_key
    from unnest(endings) e join jobs.queues q on q.id = e.queue and q.running_per_key_max is not null
    where e.concurrency_key is not null;

    delete from jobs.payloads p using unnest(endings) e
    where p.id = e.id and e.payload is null and e.state in ('completed', 'cancelled');

    delete from jobs.uniques u using unnest(endings) e
    where e.meta ? 'unique' and e.state not in ('retryable', 'snoozed') and u.queue = e.queue
        and u.key = decode(e.meta ->> 'unique', 'hex') and u.id = e.id and (u.until is null or e.id = any (forgotten));

    perform jobs.lock_batches(array(select (e.meta ->> 'batch')::uuid from unnest(endings) e where e.meta ? 'batch'));

    -- What few jobs have, job by job.
    foreach ending in array endings loop
        continue when ending.state in ('retryable', 'snoozed');
        -- Nothing follows from what nobody may know of any more, and nobody is told.
        if ending.state = 'completed' and ending.meta ? 'then' and ending.id <> all (forgotten) then
            perform jobs.enqueue_next(ending);
        end if;
        if ending.meta ? 'batch' then
            perform jobs.leave_batch((ending.meta ->> 'batch')::uuid, ending.id, ending.state <> 'completed');
        end if;
        continue when ending.id = any (forgotten);
        if ending.state <> 'completed' or ending.is_announced or (ending.meta -> 'announce') = 'true' then
            perform jobs.announce(ending);
        end if;
    end loop;
    if forgotten <> '{}' then
        perform jobs.forget_ended(forgotten);
    end if;
end
$$;

-- The errors of the attempts so far, the newest 20, with one more.
create function jobs.with_error(meta jsonb, error jsonb) returns jsonb
    language sql immutable
    return case when error is null then meta else
        coalesce(meta, '{}') || jsonb_build_object('errors',
            case when jsonb_array_length(meta -> 'errors') >= 20 then (meta -> 'errors') - 0 else coalesce(meta -> 'errors', '[]') end || error)
    end;

-- The next job of a chain: the first of `then`, with the others behind it. It is told the result of the one before as
-- `previous`, beside its payload.
create function jobs.enqueue_next(ending jobs.ending) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    next jsonb := ending.meta -> 'then' -> 0;
    others jsonb := (ending.meta -> 'then') - 0;
    options jsonb := coalesce(next -> 'options', '{}');
begin
    if others <> '[]' then
        options := options || jsonb_build_object('then', others);
    end if;
    options := jsonb_strip_nulls(jsonb_build_object('parent', ending.id, 'family_id', ending.family_id, 'trace_parent', ending.meta -> 'trace_parent'))
        || options;
    perform jobs.submit(
        next ->> 'kind', next -> 'payload', options,
        case when ending.result is not null then jsonb_build_object('previous', ending.result) end
    );
end
$$;

-- Locks batches. Whoever changes several jobs or batches locks jobs first, in the order of their ids, and then their batches
-- in that of theirs: then nobody waits for somebody who waits for him.
create function jobs.lock_batches(ids uuid[]) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    if ids <> '{}' then
        perform from jobs.batches b where b.id = any (ids) order by b.id for update;
    end if;
end
$$;

-- One job less in a batch. With the last one of a sealed batch, its callback is enqueued. A job that was discarded after its
-- batch had ended, and retried since, is in none.
create function jobs.leave_batch(batch_id uuid, job_id bigint, has_failed boolean) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from jobs.batch_jobs m where m.batch = batch_id and m.id = job_id;
    if found then
        update jobs.batches b set pending = b.pending - 1, failed = b.failed + has_failed::integer where b.id = batch_id;
        perform jobs.close_batch(batch_id);
    end if;
end
$$;

-- Ends a batch that takes no more jobs and has none left. What follows is told of it as `ended_batch`: its option `batch` is
-- another one, which it may be in.
create function jobs.close_batch(batch_id uuid) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    b jobs.batches;
begin
    update jobs.batches set finished_at = clock_timestamp()
    where id = batch_id and is_sealed and pending = 0 and finished_at is null
    returning * into b;
    if b.then_kind is not null then
        perform jobs.submit(
            b.then_kind,
            b.then_payload,
            jsonb_strip_nulls(jsonb_build_object('family_id', b.family_id)) || coalesce(b.then_options, '{}'),
            jsonb_build_object('ended_batch', jsonb_build_object(
                'id', b.id, 'name', b.name, 'total', b.total, 'failed', b.failed, 'is_cancelled', b.cancelled_at is not null))
        );
    end if;
end
$$;
