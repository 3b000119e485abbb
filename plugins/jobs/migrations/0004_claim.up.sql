-- Claiming: taking available jobs of a queue. Claims of one queue come one after another (an advisory lock of the
-- transaction), which makes them cheap, and makes its limits exact: what runs is counted by whoever may add to it, and by
-- nobody else. The lock is not what keeps a job from running twice: two deletes of one row cannot both succeed.

-- What a claim took, a list for each column; and what the claimer hands in again at its next claim: `low`, for each priority
-- the id below which there is nothing left to look at, and `turn`, the family that was served last. `seen` is the last id that
-- anybody has drawn, and `is_late` says that a look at the whole queue found jobs below the marks.
create type jobs.picked as (
    status text,
    next_at timestamptz,
    is_limited boolean,
    low bigint[],
    seen bigint,
    is_late boolean,
    turn uuid,
    ids bigint[],
    priorities smallint[],
    attempts smallint[],
    attempts_max smallint[],
    kinds text[],
    families uuid[],
    concurrency_keys text[],
    rate_keys text[],
    metas jsonb[],
    payloads jsonb[]
);

-- Moves what is due to `ready`, at most 1000 jobs, and lowers the marks below it. A job that somebody is changing stays: his
-- transaction may be open for long.
create function jobs.promote_due(queue_id smallint, low bigint[]) returns bigint[]
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    lane record;
    -- Once: a time that may be another for each row is none that an index can be searched with, and all that is delayed would
    -- be looked at.
    moment timestamptz := clock_timestamp();
begin
    if not exists (select from jobs.later l where l.queue = queue_id and l.run_at <= moment) then
        return low;
    end if;
    for lane in
        with due as (
            delete from jobs.later l
            where l.ctid = any (array(
                select d.ctid from jobs.later d where d.queue = queue_id and d.run_at <= moment order by d.run_at limit 1000
                for update skip locked
            ))
            returning l.*
        ), moved as (
            insert into jobs.ready
            select due.id, due.queue, due.priority, due.attempt, due.attempts_max, due.kind, due.family_id, due.concurrency_key,
                due.rate_key, due.meta, due.payload
            from due
        )
        select d.priority, min(d.id) as first from due d where d.family_id is null group by d.priority
    loop
        low[lane.priority + 1] := least(low[lane.priority + 1], lane.first - 1);
    end loop;
    return low;
end
$$;

-- Jobs of the queue that run, by concurrency key.
create function jobs.running_keys(queue_id smallint) returns table (concurrency_key text, running bigint)
    language sql stable
    begin atomic
        select j.concurrency_key, count(*)
        from jobs.leases l cross join lateral unnest(l.ids, l.concurrency_keys) as j (id, concurrency_key)
        where l.queue = queue_id and j.concurrency_key is not null and j.id <> all (l.done)
        group by j.concurrency_key;
    end;

-- Brings back jobs whose concurrency key has a free place.
create function jobs.promote_waiting(queue_id smallint, per_key_max integer, low bigint[]) returns bigint[]
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    keys text[];
    lane record;
begin
    with gone as (
        delete from jobs.freed f where f.queue = queue_id returning f.concurrency_key
    )
    select array_agg(distinct g.concurrency_key) into keys from gone g;
    if keys is null then
        return low;
    end if;
    for lane in
        with places as (
            select k.concurrency_key, per_key_max - coalesce(r.running, 0) as free
            from unnest(keys) as k (concurrency_key)
            left join jobs.running_keys(queue_id) r on r.concurrency_key = k.concurrency_key
        ), next as (
            select n.id from places p cross join lateral (
                select w.id from jobs.waiting w where w.queue = queue_id and w.concurrency_key = p.concurrency_key
                order by w.priority, w.id limit greatest(p.free, 0)
            ) n
        ), back as (
            delete from jobs.waiting w where w.id in (select n.id from next n) returning w.*
        ), moved as (
            insert into jobs.ready select b.* from back b
        )
        select b.priority, min(b.id) as first from back b where b.family_id is null group by b.priority
    loop
        low[lane.priority + 1] := least(low[lane.priority + 1], lane.first - 1);
    end loop;
    return low;
end
$$;

-- Which of the rows may start, by the limits of their keys. The others are moved to where they wait: for a place of their
-- concurrency key, or for the time at which their rate key has a start again (GCRA: a start is due every 1/rate seconds, and
-- may be early by `rate_burst` of them).
create function jobs.admit(q jobs.queues, tids tid[]) returns tid[]
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    refused tid[];
    times timestamptz[];
    period interval := make_interval(secs => 1 / q.rate_per_second);
    moment timestamptz := clock_timestamp();
begin
    if q.running_per_key_max is not null then
        select array_agg(k.tid) filter (where k.rank > q.running_per_key_max - coalesce(r.running, 0)) into refused
        from (
            select j.ctid as tid, j.concurrency_key, row_number() over (partition by j.concurrency_key order by j.priority, j.id) as rank
            from jobs.ready j where j.ctid = any (tids) and j.concurrency_key is not null
        ) k left join jobs.running_keys(q.id) r on r.concurrency_key = k.concurrency_key;
        if refused is not null then
            with gone as (
                delete from jobs.ready j where j.ctid = any (refused) returning j.*
            )
            insert into jobs.waiting select gone.* from gone;
            tids := array(select t from unnest(tids) with ordinality as u (t, at) where t <> all (refused) order by at);
        end if;
    end if;
    if q.rate_per_second is not null and q.rate_by = 'key' then
        with ranked as (
            select j.ctid as tid, j.rate_key, row_number() over (partition by j.rate_key order by j.priority, j.id) as rank
            from jobs.ready j where j.ctid = any (tids) and j.rate_key is not null
        ), started as (
            select r.tid, r.rate_key, b.next_at + (r.rank - q.rate_burst) * period as start_at, b.next_at + r.rank * period as next_at
            from ranked r cross join lateral (
                select greatest(moment, (select b.next_at from jobs.rates b where b.queue = q.id and b.key = r.rate_key)) as next_at
            ) b
        ), charged as (
            insert into jobs.rates as b (queue, key, next_at)
            select q.id, s.rate_key, max(s.next_at) from started s where s.start_at <= moment group by s.rate_key
            on conflict (queue, key) do update set next_at = excluded.next_at
        )
        select array_agg(s.tid), array_agg(s.start_at) into refused, times from started s where s.start_at > moment;
        if refused is not null then
            with gone as (
                delete from jobs.ready j where j.ctid = any (refused) returning j.ctid as tid, j.*
            ), delayed as (
                insert into jobs.later
                select g.id, g.queue, g.priority, g.attempt, g.attempts_max, g.kind, g.family_id, g.concurrency_key, g.rate_key, g.meta,
                    g.payload, r.start_at
                from gone g join unnest(refused, times) as r (tid, start_at) on r.tid = g.tid
                returning concurrency_key
            )
            -- Whoever was sent to wait for the place that it does not take looks again.
            insert into jobs.freed
            select distinct q.id, d.concurrency_key from delayed d where d.concurrency_key is not null and q.running_per_key_max is not null;
            tids := array(select t from unnest(tids) with ordinality as u (t, at) where t <> all (refused) order by at);
        end if;
    end if;
    return tids;
end
$$;

-- Where the next jobs of the queue are: by priority, and within one a share for each of at most 100 families and for those
-- without one.
create function jobs.look(queue_id smallint, wanted integer, low bigint[], inout turn uuid, out tids tid[])
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
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
        ) or exists (
            select from jobs.ready r where r.queue = queue_id and r.priority = p.n::smallint and r.family_id is not null
        )
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
                        select r.ctid as tid, row_number() over (order by r.id) as round from jobs.ready r
                        where r.queue = queue_id and r.priority = lane and r.family_id = f.id
                        order by r.id limit case when cardinality(families) = 1 then wanted else share * 4 end
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

-- Places that a claimer may fill of a queue with `running_max`, and when there may be more. Whoever ends a job is the first to
-- claim again, so it would keep every place: hosts that wait at the limit have a share of it, and who has more leaves to
-- them what is free. They have a moment to come: who does not, because it is busy or gone, has no share until it asks again.
-- (A share is one place at least: a queue that runs one job at a time may stay with one host.)
create function jobs.free_places(q jobs.queues, claimer uuid, out places integer, out next_at timestamptz)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moment constant interval := '100 milliseconds';
    own integer;
    others integer;
begin
    select q.running_max - coalesce(sum(r.jobs), 0), coalesce(sum(r.jobs) filter (where r.host = claimer), 0) into places, own
    from (select l.host, cardinality(l.ids) - cardinality(l.done) as jobs from jobs.leases l where l.queue = q.id) r;
    if places <= 0 or claimer is null then
        return;
    end if;
    select count(*) into others from jobs.sleepers s
    where s.queue = q.id and s.worker <> claimer and s.is_at_limit and s.until > clock_timestamp();
    if others > 0 and ceil(q.running_max / (others + 1.0)) - own < places then
        places := greatest(ceil(q.running_max / (others + 1.0)) - own, 0);
        next_at := clock_timestamp() + moment;
        update jobs.sleepers s set until = free_places.next_at
        where s.queue = q.id and s.worker <> claimer and s.is_at_limit and s.until > free_places.next_at;
    end if;
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
create function jobs.pick(
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
        ), ordered as (
            select t.* from taken t order by t.priority, t.id
        )
        select array_agg(o.id), array_agg(o.priority), array_agg((o.attempt + 1)::smallint), array_agg(o.attempts_max), array_agg(o.kind),
            array_agg(o.family_id), array_agg(o.concurrency_key), array_agg(o.rate_key), array_agg(o.meta), array_agg(o.payload)
        into result.ids, result.priorities, result.attempts, result.attempts_max, result.kinds, result.families, result.concurrency_keys,
            result.rate_keys, result.metas, result.payloads
        from ordered o;
        select m.low, m.is_late into result.low, result.is_late
        from jobs.move_marks(result.low, result.ids, result.priorities, result.families) m;
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

-- The marks after a claim: rows without a family are taken in the order of their ids, so nothing is left below the last. It is
-- below its mark when a look without marks found more than it was to take.
create function jobs.move_marks(
    inout low bigint[], ids bigint[], priorities smallint[], families uuid[], out is_late boolean
)
    language plpgsql immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    lane record;
begin
    is_late := false;
    for lane in
        select t.priority, min(t.id) as first, max(t.id) as last from unnest(ids, priorities, families) as t (id, priority, family_id)
        where t.family_id is null group by t.priority
    loop
        is_late := is_late or lane.first <= low[lane.priority + 1];
        low[lane.priority + 1] := lane.last;
    end loop;
end
$$;

-- Marks a worker as one that sleeps, for a few seconds: it is woken by a new job, or at a limit by the end of one.
create function jobs.fall_asleep(queue_id smallint, sleeper uuid, at_limit boolean) returns void
    language sql volatile
    begin atomic
        insert into jobs.sleepers as s (queue, worker, until, is_at_limit)
        values (queue_id, sleeper, clock_timestamp() + interval '5 seconds', at_limit)
        on conflict (queue, worker) do update set until = excluded.until, is_at_limit = excluded.is_at_limit
        -- At a limit it may come many times in a second.
        where not at_limit or not s.is_at_limit or s.until < clock_timestamp() + interval '4 seconds';
    end;

-- Wakes workers that wait at a limit when jobs end that were under it: those that run fewer than who has ended them, which
-- looks by itself. At the end of the transaction, as `jobs.wake`. What slips through is found by their own looks.
create function jobs.wake_at_limit() returns trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from jobs.sleepers s
        where s.queue = old.queue and s.worker is distinct from old.host and s.until > clock_timestamp()
            and (s.is_at_limit or exists (select from jobs.waiting w where w.queue = s.queue))
            and jobs.running_of(s.queue, s.worker) <= jobs.running_of(s.queue, old.host)
    ) then
        perform pg_notify('nself_jobs', 'queue ' || old.queue);
    end if;
    return null;
end
$$;

-- Jobs of a queue that a host runs.
create function jobs.running_of(queue_id smallint, host_id uuid) returns bigint
    language sql stable
    begin atomic
        select coalesce(sum(cardinality(l.ids) - cardinality(l.done)), 0)::bigint from jobs.leases l
        where l.queue = queue_id and l.host = host_id;
    end;

create constraint trigger leases_wake after delete or update of done on jobs.leases
    deferrable initially deferred for each row
    when (old.is_limited and current_setting('nself_jobs.freed', true) is distinct from old.queue::text
        and set_config('nself_jobs.freed', old.queue::text, true) is not null)
    execute function jobs.wake_at_limit();

-- A host claims a batch: one lease for all of it. A host that finds nothing is marked as asleep for that queue, and claims
-- once more before it sleeps: what was committed between its claim and its mark would wake nobody.
-- The host names the lease, so that it can ask for it when the connection broke before it had the answer.
create function jobs.claim(
    queue_id smallint, host_id uuid, wanted integer, low bigint[], is_whole boolean, turn uuid,
    lease_id uuid default gen_random_uuid(), careful boolean default false, out picked jobs.picked, out lease uuid
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    picked := jobs.pick(queue_id, wanted, low, is_whole, turn, careful, host_id);
    if picked.ids is not null then
        lease := lease_id;
        insert into jobs.leases (id, host, queue, is_limited, ids, priorities, attempts, attempts_max, kinds, families, concurrency_keys,
            rate_keys, metas, payloads)
        values (lease, host_id, queue_id, picked.is_limited, picked.ids, picked.priorities, picked.attempts, picked.attempts_max, picked.kinds,
            picked.families, picked.concurrency_keys, picked.rate_keys, picked.metas, picked.payloads);
        -- Who waited at the limit keeps its share of it while it comes back for more.
        delete from jobs.sleepers s where s.queue = queue_id and s.worker = host_id and not s.is_at_limit;
    elsif picked.status = 'taken' or (picked.status = 'limited' and picked.is_limited) then
        perform jobs.fall_asleep(queue_id, host_id, picked.status = 'limited');
    end if;
end
$$;

-- Enqueues plain jobs and leases them to the host that asks, in one go: they begin when this commits, without a claim. Null,
-- and nothing is enqueued, when one of the queues is paused, limited or not for hosts. `kinds` are of one queue.
create function jobs.submit_leased(
    host_id uuid, kinds text[], payloads jsonb[], lease_id uuid default gen_random_uuid(),
    out lease uuid, out queue_id smallint, out queue_name text, out ids bigint[], out limits smallint[]
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    amount integer := cardinality(kinds);
begin
    select min(coalesce(k.queue, 1::smallint)), array_agg(coalesce(k.attempts_max, 10::smallint) order by i.at) into queue_id, limits
    from unnest(kinds) with ordinality as i (kind, at) left join jobs.kinds k on k.kind = i.kind
    having count(distinct coalesce(k.queue, 1::smallint)) = 1;
    select q.name into queue_name from jobs.queues q
    where q.id = queue_id and q.worker = 'host' and q.paused_at is null and q.running_max is null
        and q.running_per_key_max is null and q.rate_per_second is null;
    if queue_name is null or not exists (select from jobs.hosts h where h.id = host_id) then
        return;
    end if;
    lease := lease_id;
    ids := array(select jobs.new_id() from generate_series(1, amount));
    insert into jobs.leases (id, host, queue, ids, priorities, attempts, attempts_max, kinds, families, concurrency_keys, rate_keys,
        metas, payloads)
    values (lease, host_id, queue_id, ids, array_fill(5::smallint, array[amount]), array_fill(1::smallint, array[amount]), limits, kinds,
        array_fill(null::uuid, array[amount]), array_fill(null::text, array[amount]), array_fill(null::text, array[amount]),
        array_fill(null::jsonb, array[amount]), payloads);
end
$$;
