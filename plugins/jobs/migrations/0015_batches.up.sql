-- Less work for each job of a batch, at its claim and at its end. What the functions do is as it was.

-- Where the next jobs of the queue are: by priority, and within one a share for each of at most 100 families and for those
-- without one. As before, but its plans hold whatever the table was like when they were made: what is looked for among families is
-- asked for in the order of `ready_fair`, which no other index has, and to sort is the last resort. A plan that was made while the
-- table was empty went through all jobs of all families, at each claim.
create or replace function jobs.look(queue_id smallint, wanted integer, low bigint[], inout turn uuid, out tids tid[])
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
    set enable_sort = off
as $$
declare
    lane smallint;
    families uuid[];
    share integer;
begin
    -- Most queues have no families. Then each row is passed once: behind an old transaction, which keeps what was deleted, that
    -- is what a look costs.
    if not exists (select from jobs.ready r where r.queue = queue_id and r.family_id is not null) then
        tids := array(
            select j.tid from generate_series(0, 9) as p (n) cross join lateral (
                select r.ctid as tid from jobs.ready r
                where r.queue = queue_id and r.priority = p.n::smallint and r.family_id is null and r.id > low[p.n + 1]
                order by r.id limit wanted
            ) j
            limit wanted
        );
        return;
    end if;
    tids := '{}';
    turn := coalesce(turn, '00000000-0000-0000-0000-000000000000');
    for lane in
        select p.n::smallint from generate_series(0, 9) as p (n)
        where exists (
            select from jobs.ready r where r.queue = queue_id and r.priority = p.n::smallint and r.family_id is null and r.id > low[p.n + 1]
        ) or (
            select r.id from jobs.ready r where r.queue = queue_id and r.priority = p.n::smallint and r.family_id is not null
            order by r.family_id, r.id limit 1
        ) is not null
        order by p.n
    loop
        with recursive after as (
            (select r.family_id from jobs.ready r
            where r.queue = queue_id and r.priority = lane and r.family_id > turn order by r.family_id limit 1)
            union all
            select (select r.family_id from jobs.ready r
                where r.queue = queue_id and r.priority = lane and r.family_id > a.family_id order by r.family_id limit 1)
            from after a where a.family_id is not null
        ), before as (
            (select r.family_id from jobs.ready r
            where r.queue = queue_id and r.priority = lane and r.family_id is not null order by r.family_id limit 1)
            union all
            select (select r.family_id from jobs.ready r
                where r.queue = queue_id and r.priority = lane and r.family_id > b.family_id order by r.family_id limit 1)
            from before b where b.family_id < turn
        ), both_parts as (
            select a.family_id from (select family_id from after limit 100) a where a.family_id is not null
            union all
            select b.family_id from (select family_id from before limit 100) b where b.family_id <= turn
        )
        select array_agg(f.family_id) into families from (select p.family_id from both_parts p limit 100) f;

        share := ceil((wanted - cardinality(tids))::numeric / (coalesce(cardinality(families), 0) + 1));
        if families is null then
            tids := tids || array(
                select r.ctid from jobs.ready r
                where r.queue = queue_id and r.priority = lane and r.family_id is null and r.id > low[lane + 1]
                order by r.id limit share
            );
        else
            tids := tids || array(
                select t.tid from (
                    (select r.ctid as tid, row_number() over (order by r.id) as round from jobs.ready r
                    where r.queue = queue_id and r.priority = lane and r.family_id is null and r.id > low[lane + 1]
                    order by r.id limit wanted)
                    union all
                    select j.tid, j.round from unnest(families) as f (id) cross join lateral (
                        select r.ctid as tid, row_number() over (order by r.family_id, r.id) as round from jobs.ready r
                        where r.queue = queue_id and r.priority = lane and r.family_id >= f.id and r.family_id <= f.id
                        order by r.family_id, r.id limit case when cardinality(families) = 1 then wanted else share * 4 end
                    ) j
                ) t
                order by t.round limit wanted - cardinality(tids)
            );
            turn := families[cardinality(families)];
        end if;
        exit when cardinality(tids) >= wanted;
    end loop;
end
$$;

-- Takes at most `wanted` jobs out of `ready`. `status` is `busy` when another host claims, `paused`, `limited` when the queue
-- may not have more now, else `taken`, also when there was nothing; `next_at` says when there may be more.
-- A `careful` one passes over jobs that somebody is changing, whose transaction may be open for long. That costs a lock for each
-- job, so hosts are not careful until a claim has waited for a moment in vain (55P03).
-- The marks rise to what was taken. Ids are drawn before their transactions commit, so younger ones may still appear behind what is
-- claimed now: whoever claims also looks from marks that lag behind. A claim that `is_whole` does without them.
-- Its plans must not depend on statistics: the tables are empty at one moment and have a million rows at the next. Nor are they
-- made anew for each claim, which took a fifth of its time.
-- What it took is in the order in which it lay in the table: who asked sorts it, which is nothing for a list that fits a processor's
-- cache and was a tenth of a claim here.
create or replace function jobs.pick(
    queue_id smallint, wanted integer, low bigint[], is_whole boolean, turn uuid,
    careful boolean default true, claimer uuid default null
)
    returns jobs.picked
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_bitmapscan = off
    set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    q jobs.queues;
    result jobs.picked;
    tids tid[];
    period interval;
    bucket timestamptz;
    has_key_limits boolean;
    places integer;
    first_id bigint;
    last_id bigint;
    lane smallint;
    is_plain boolean;
begin
    result.low := low;
    result.turn := turn;
    if not pg_try_advisory_xact_lock(1852138092, queue_id) then
        result.status := 'busy';
        return result;
    end if;
    -- A claim that a crash of the server forgets leaves the job available. So the claim need not wait for the disk.
    perform set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '200ms', true);
    select * into strict q from jobs.queues where id = queue_id;
    -- For a host, a queue is as good as paused that workers fetch from: it may not have heard of that yet.
    if q.paused_at is not null or (claimer is not null and q.worker <> 'host') then
        result.status := 'paused';
        return result;
    end if;
    has_key_limits := q.running_per_key_max is not null or (q.rate_per_second is not null and q.rate_by = 'key');

    result.is_limited := q.running_max is not null or q.running_per_key_max is not null;
    if q.running_max is not null then
        select f.places, f.next_at into places, result.next_at from jobs.free_places(q, claimer) f;
        wanted := least(wanted, places);
    end if;
    if q.rate_per_second is not null and q.rate_by = 'queue' then
        period := make_interval(secs => 1 / q.rate_per_second);
        select greatest(b.next_at, clock_timestamp()) into bucket from jobs.rates b where b.queue = queue_id and b.key = '';
        bucket := coalesce(bucket, clock_timestamp());
        wanted := least(wanted, floor(q.rate_burst - extract(epoch from bucket - clock_timestamp()) * q.rate_per_second));
        result.next_at := greatest(result.next_at, bucket - (q.rate_burst - 1) * period);
    end if;
    if wanted <= 0 then
        result.status := 'limited';
        return result;
    end if;

    result.low := jobs.promote_due(queue_id, result.low);
    if q.running_per_key_max is not null then
        result.low := jobs.promote_waiting(queue_id, q.running_per_key_max, result.low);
    end if;
    result.seen := ((date_part('epoch', clock_timestamp())::bigint - 1704067200) << 22) | ((select n.last_value from jobs.numbers n) & 4194303);

    -- What the limits of keys send away makes room: look again, a few times.
    for round in 1..case when has_key_limits then 10 else 1 end loop
        select l.turn, l.tids into result.turn, tids
        from jobs.look(queue_id, wanted, case when is_whole then array_fill(0::bigint, array[10]) else result.low end, result.turn) l;
        if careful then
            tids := array(select r.ctid from jobs.ready r where r.ctid = any (tids) for update skip locked);
        end if;
        exit when tids = '{}';
        if has_key_limits then
            tids := jobs.admit(q, tids);
        end if;
        exit when tids <> '{}';
    end loop;

    if tids <> '{}' then
        with taken as (
            delete from jobs.ready r where r.ctid = any (tids) returning r.*
        )
        select array_agg(t.id), array_agg(t.priority), array_agg((t.attempt + 1)::smallint), array_agg(t.attempts_max), array_agg(t.kind),
            array_agg(t.family_id), array_agg(t.concurrency_key), array_agg(t.rate_key), array_agg(t.meta), array_agg(t.payload),
            min(t.id), max(t.id), min(t.priority), min(t.priority) = max(t.priority) and count(t.family_id) = 0
        into result.ids, result.priorities, result.attempts, result.attempts_max, result.kinds, result.families, result.concurrency_keys,
            result.rate_keys, result.metas, result.payloads, first_id, last_id, lane, is_plain
        from taken t;
        if is_plain then
            -- What `jobs.move_marks` finds out, of most claims.
            result.is_late := first_id <= result.low[lane + 1];
            result.low[lane + 1] := last_id;
        else
            select m.low, m.is_late into result.low, result.is_late
            from jobs.move_marks(result.low, result.ids, result.priorities, result.families) m;
        end if;
        if period is not null then
            insert into jobs.rates as b (queue, key, next_at) values (queue_id, '', bucket + cardinality(result.ids) * period)
            on conflict (queue, key) do update set next_at = excluded.next_at;
        end if;
    end if;
    if cardinality(tids) < wanted then
        select least(result.next_at, min(l.run_at)) into result.next_at from jobs.later l where l.queue = queue_id;
    end if;
    result.status := 'taken';
    return result;
end
$$;

-- The hot path: leases of which every job was completed and is plain (no result, no options, payload in place). Returns the
-- leases that were still the host's. Its plan is made once for each connection: a function in SQL has it made anew at every call,
-- which took longer than all it does for a small lease. So it must not depend on what statistics say of a table that is empty at one
-- moment and full at the next.
-- The lists are taken apart where columns are made: in `from`, each would be written into a table of its own first, and read again,
-- a quarter of what the end of a job costs.
create or replace function jobs.complete(host_id uuid, lease_ids uuid[], is_kept boolean) returns setof uuid
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    with gone as (
        delete from jobs.leases l where l.id = any (lease_ids) and l.host = host_id
        returning l.id, l.queue, l.claimed_at, l.done, l.ids, l.attempts, l.kinds, l.families, l.payloads
    ), kept as (
        insert into jobs.finished (id, queue, state, attempt, worker, claimed_at, kind, family_id, payload)
        select j.id, j.queue, 'completed', j.attempt, host_id, j.claimed_at, j.kind, j.family_id, j.payload
        from (
            select g.queue, g.claimed_at, g.done, unnest(g.ids) as id, unnest(g.attempts) as attempt, unnest(g.kinds) as kind,
                unnest(g.families) as family_id, unnest(g.payloads) as payload
            from gone g where is_kept
        ) j
        where j.done = '{}' or j.id <> all (j.done)
    )
    select g.id from gone g;
end
$$;
