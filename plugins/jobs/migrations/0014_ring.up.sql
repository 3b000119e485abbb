-- Waking without a trigger. What enqueues looks for workers that sleep itself, and holds a lock until its transaction has ended; a
-- worker that falls asleep looks for such locks. So nobody is woken late whose mark came too late to be seen, and a job costs no
-- deferred trigger, which was a third of what it cost to enqueue one.
drop trigger ready_wake on jobs.ready;

-- This sleeper has found nothing, and somebody who enqueues has not committed yet.
alter table jobs.sleepers add column is_awaiting boolean not null default false;

-- Says that this transaction has jobs of a queue: wakes workers that sleep, and only those. Who falls asleep from here on sees
-- the lock. It is shared by all who enqueue and nobody takes it for himself alone, so nobody waits for it.
create function jobs.ring(queue_id smallint) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_try_advisory_xact_lock_shared(1852138094, queue_id);
    if exists (select from jobs.sleepers s where s.queue = queue_id and s.until > clock_timestamp() and not s.is_at_limit) then
        perform pg_notify('nself_jobs', 'queue ' || queue_id);
    end if;
end
$$;

-- Whether transactions are under way that have jobs of a queue.
create function jobs.is_awaited(queue_id smallint) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.classid = 1852138094 and l.objid = queue_id::oid
            and l.database = (select d.oid from pg_database d where d.datname = current_database())
    );
end
$$;

-- Marks a worker as one that sleeps, for a few seconds: it is woken by a new job, or at a limit by the end of one.
drop function jobs.fall_asleep(smallint, uuid, boolean);
create function jobs.fall_asleep(queue_id smallint, sleeper uuid, at_limit boolean, awaits boolean default false) returns void
    language sql volatile
    begin atomic
        insert into jobs.sleepers as s (queue, worker, until, is_at_limit, is_awaiting)
        values (queue_id, sleeper, clock_timestamp() + interval '5 seconds', at_limit, awaits)
        on conflict (queue, worker) do update
            set until = excluded.until, is_at_limit = excluded.is_at_limit, is_awaiting = excluded.is_awaiting
        -- At a limit it may come many times in a second.
        where not at_limit or not s.is_at_limit or s.until < clock_timestamp() + interval '4 seconds';
    end;

-- What is left to do for a worker that has found nothing: it is marked as asleep. Jobs that somebody has enqueued and not committed
-- wake nobody: whoever they are for comes back in a moment, and looks at the whole queue then, as their ids may be old. The
-- same when they were committed since the look. A look that takes long, behind what an old transaction keeps, is a tenth of the time at most.
create function jobs.rest(queue_id smallint, sleeper uuid, was_whole boolean, inout picked jobs.picked)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set jit = off
as $$
declare
    moment constant interval := greatest('20 milliseconds', (clock_timestamp() - statement_timestamp()) * 10);
    awaits boolean := false;
begin
    if picked.status = 'taken' then
        awaits := jobs.is_awaited(queue_id) or was_whole and (
            exists (select from jobs.ready r where r.queue = queue_id and r.family_id is null)
            or exists (select from jobs.ready r where r.queue = queue_id and r.family_id is not null)
        );
        if awaits then
            picked.next_at := least(picked.next_at, clock_timestamp() + moment);
        end if;
    end if;
    perform jobs.fall_asleep(queue_id, sleeper, picked.status = 'limited', awaits);
end
$$;

-- The same as before, but for how a host that finds nothing falls asleep.
create or replace function jobs.claim(
    queue_id smallint, host_id uuid, wanted integer, low bigint[], is_whole boolean, turn uuid,
    lease_id uuid default gen_random_uuid(), careful boolean default false, out picked jobs.picked, out lease uuid
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    whole boolean := is_whole or exists (select from jobs.sleepers s where s.queue = queue_id and s.worker = host_id and s.is_awaiting);
begin
    picked := jobs.pick(queue_id, wanted, low, whole, turn, careful, host_id);
    if picked.ids is not null then
        lease := lease_id;
        insert into jobs.leases (id, host, queue, is_limited, ids, priorities, attempts, attempts_max, kinds, families, concurrency_keys,
            rate_keys, metas, payloads)
        values (lease, host_id, queue_id, picked.is_limited, picked.ids, picked.priorities, picked.attempts, picked.attempts_max, picked.kinds,
            picked.families, picked.concurrency_keys, picked.rate_keys, picked.metas, picked.payloads);
        -- Who waited at the limit keeps its share of it while it comes back for more.
        delete from jobs.sleepers s where s.queue = queue_id and s.worker = host_id and not s.is_at_limit;
    elsif picked.status = 'taken' or (picked.status = 'limited' and picked.is_limited) then
        picked := jobs.rest(queue_id, host_id, whole and not careful, picked);
    end if;
end
$$;

-- The same as before, but for how a host falls asleep that finds nothing for a worker who waits.
create or replace function jobs.fetch(
    queue_name text, worker_name text, wanted integer, lease_seconds double precision, low bigint[],
    is_whole boolean, turn uuid, sleeper uuid,
    out picked jobs.picked, out queue_id smallint, out has_limits boolean, out leases uuid[], out held_until timestamptz
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    held_by text;
    whole boolean;
begin
    select q.id, q.worker, q.running_max is not null or q.running_per_key_max is not null or q.rate_per_second is not null
    into queue_id, held_by, has_limits from jobs.queues q where q.name = queue_name;
    if held_by is distinct from 'pull' then
        picked.status := case when held_by is null then 'unknown' else 'not_pull' end;
        picked.low := low;
        return;
    end if;
    whole := is_whole or exists (select from jobs.sleepers s where s.queue = queue_id and s.worker = sleeper and s.is_awaiting);
    picked := jobs.pick(queue_id, wanted, low, whole, turn);
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
        -- It is careful, so what somebody changes is no reason to come back.
        picked := jobs.rest(queue_id, sleeper, false, picked);
    end if;
end
$$;

-- Enqueues a job in the caller's transaction and returns its id; of a unique job whose key is taken, the id of that one.
create or replace function jobs.enqueue(kind text, payload jsonb default '{}', options jsonb default null) returns bigint
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    job_id bigint;
    of_queue smallint;
    is_slept_on boolean;
begin
    -- Most jobs are plain and of a kind that has a row: one statement is all of it, with what `jobs.ring` does.
    if enqueue.options is null and pg_column_size(enqueue.payload) <= 2000 then
        insert into jobs.ready (queue, attempts_max, kind, payload)
        select k.queue, k.attempts_max, k.kind, enqueue.payload from jobs.kinds k where k.kind = enqueue.kind
        returning id, queue, not pg_try_advisory_xact_lock_shared(1852138094, queue) or exists (
            select from jobs.sleepers s where s.queue = ready.queue and s.until > clock_timestamp() and not s.is_at_limit
        ) into job_id, of_queue, is_slept_on;
        if found then
            if is_slept_on then
                perform pg_notify('nself_jobs', 'queue ' || of_queue);
            end if;
            return job_id;
        end if;
    end if;
    select s.id into job_id from jobs.submit(enqueue.kind, enqueue.payload, enqueue.options) s;
    return job_id;
end
$$;

-- Enqueues many: one status and id for each, in their order. Plain ones of kinds that have a row are one statement, which asks for
-- nothing else when they are of one kind.
create or replace function jobs.submit_many(kinds text[], payloads jsonb[], options jsonb[]) returns table (id bigint, status text)
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    known jobs.kinds;
begin
    if kinds[1] = all (kinds) and array_remove(submit_many.options, null) = '{}' then
        select k.* into known from jobs.kinds k where k.kind = kinds[1];
        -- What is small together is small.
        if found and (pg_column_size(payloads) <= 2000
            or (select coalesce(max(pg_column_size(p.payload)), 0) <= 2000 from unnest(payloads) as p (payload))) then
            return query
            insert into jobs.ready (queue, attempts_max, kind, payload)
            select known.queue, known.attempts_max, known.kind, coalesce(p.payload, '{}') from unnest(payloads) as p (payload)
            returning ready.id, 'enqueued'::text;
            perform jobs.ring(known.queue);
            return;
        end if;
    end if;
    if (
        select bool_and(k.kind is not null and coalesce(i.options, '{}') = '{}' and coalesce(pg_column_size(i.payload), 0) <= 2000)
        from unnest(kinds, payloads, submit_many.options) as i (kind, payload, options)
        left join jobs.kinds k on k.kind = i.kind
    ) then
        return query
        with written as (
            insert into jobs.ready (queue, attempts_max, kind, payload)
            select k.queue, k.attempts_max, k.kind, coalesce(i.payload, '{}')
            from unnest(kinds, payloads) with ordinality as i (kind, payload, at) join jobs.kinds k on k.kind = i.kind
            order by i.at
            returning ready.id
        )
        select w.id, 'enqueued'::text from written w;
        perform jobs.ring(q.queue) from (select distinct k.queue from jobs.kinds k where k.kind = any (submit_many.kinds)) q;
    else
        return query
        select s.id, s.status
        from unnest(kinds, payloads, submit_many.options) with ordinality as i (kind, payload, options, at)
        cross join lateral jobs.submit(i.kind, i.payload, i.options) s
        order by i.at;
    end if;
end
$$;

-- Enqueues jobs of one kind with the same options; their ids, in their order.
create or replace function jobs.enqueue_many(kind text, payloads jsonb[], options jsonb default null) returns setof bigint
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    known jobs.kinds;
begin
    if enqueue_many.options is null and (select max(pg_column_size(p.payload)) <= 2000 from unnest(payloads) as p (payload)) then
        select k.* into known from jobs.kinds k where k.kind = enqueue_many.kind;
        if found then
            return query
            insert into jobs.ready (queue, attempts_max, kind, payload)
            select known.queue, known.attempts_max, known.kind, coalesce(p.payload, '{}') from unnest(payloads) as p (payload)
            returning ready.id;
            perform jobs.ring(known.queue);
            return;
        end if;
    end if;
    return query
    select s.id from jobs.submit_many(
        array_fill(enqueue_many.kind, array[cardinality(payloads)]), payloads, array_fill(enqueue_many.options, array[cardinality(payloads)])
    ) s;
end
$$;

-- The one way in. `status` says what became of it: `enqueued`, or for a unique job whose key is taken `exists`, `replaced`,
-- `merged`. `context` is what a chain or a batch tells the job that follows: handlers see it beside the payload, which stays
-- as whoever wrote it wanted it.
create or replace function jobs.submit(
    kind text, payload jsonb, options jsonb, context jsonb default null, out id bigint, out status text
)
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    known jobs.kinds;
    job jobs.ready;
    at timestamptz;
    options jsonb := coalesce(submit.options, '{}');
    option text;
    value jsonb;
    meta jsonb := coalesce(submit.context, '{}');
    previous jsonb;
    unique_policy text;
    unique_until timestamptz;
    unique_key bytea;
    batch_id uuid;
begin
    if submit.kind is null or submit.kind !~ '^[a-z0-9][a-zA-Z0-9_.:-]{0,127}$' then
        perform jobs.refuse('kind', 'a name such as "photos.resize"', quote_nullable(left(submit.kind, 200)));
    end if;
    if jsonb_typeof(options) <> 'object' then
        perform jobs.refuse('options', 'an object', left(options::text, 200));
    end if;
    -- Of the value as it is stored, which is cheap to know.
    if pg_column_size(submit.payload) > 2097152 then
        raise program_limit_exceeded using
            message = format('the payload has %s bytes, which is more than a job may have (2097152)', pg_column_size(submit.payload)),
            hint = 'store it where it belongs and enqueue its name';
    end if;

    select k.* into known from jobs.kinds k where k.kind = submit.kind;
    job.id := jobs.new_id();
    job.kind := submit.kind;
    job.queue := coalesce(known.queue, 1);
    job.priority := 5;
    job.attempt := 0;
    job.attempts_max := coalesce(known.attempts_max, 10);
    job.payload := coalesce(submit.payload, '{}');

    for option, value in select * from jsonb_each(options) loop
        continue when value = 'null';
        case option
        when 'queue' then
            if jsonb_typeof(value) <> 'string' or value #>> '{}' !~ '^[a-z0-9][a-z0-9_.:-]{0,62}$' then
                perform jobs.refuse(option, 'the name of a queue, in lower case', left(value::text, 200));
            end if;
            job.queue := jobs.queue_id(value #>> '{}');
        when 'priority' then
            if value::text !~ '^[0-9]$' then
                perform jobs.refuse(option, 'an integer from 0 (first) to 9', left(value::text, 200));
            end if;
            job.priority := value::text::smallint;
        when 'attempts_max' then
            if value::text !~ '^[0-9]{1,4}$' or value::text::integer not between 1 and 1000 then
                perform jobs.refuse(option, 'an integer from 1 to 1000', left(value::text, 200));
            end if;
            job.attempts_max := value::text::smallint;
        when 'delay' then
            at := clock_timestamp() + jobs.span(option, value);
        when 'run_at' then
            begin
                at := (value #>> '{}')::timestamptz;
            exception when others then
                perform jobs.refuse(option, 'a time such as "2030-01-31T12:00:00Z"', left(value::text, 200));
            end;
        when 'family_id' then
            begin
                job.family_id := (value #>> '{}')::uuid;
            exception when others then
                perform jobs.refuse(option, 'a UUID', left(value::text, 200));
            end;
        when 'concurrency_key', 'rate_key' then
            if jsonb_typeof(value) <> 'string' or length(value #>> '{}') not between 1 and 200 then
                perform jobs.refuse(option, 'a text of at most 200 characters', left(value::text, 200));
            end if;
            if option = 'rate_key' then
                job.rate_key := value #>> '{}';
            else
                job.concurrency_key := value #>> '{}';
            end if;
        when 'timeout' then
            meta := meta || jsonb_build_object('timeout_ms', greatest(1, (extract(epoch from jobs.span(option, value)) * 1000)::bigint));
        when 'retry' then
            perform jobs.retry_delay(value, 1, null);
            meta := meta || jsonb_build_object('retry', value);
        when 'keep' then
            if value not in ('"none"', '"failed"', '"all"') then
                perform jobs.refuse(option, '"none", "failed" or "all"', left(value::text, 200));
            end if;
            meta := meta || jsonb_build_object('keep', value);
        when 'tags' then
            if jsonb_typeof(value) <> 'array' or jsonb_array_length(value) > 20
                or exists (select from jsonb_array_elements(value) t where jsonb_typeof(t) <> 'string' or length(t #>> '{}') > 100) then
                perform jobs.refuse(option, 'at most 20 texts of at most 100 characters', left(value::text, 200));
            end if;
            meta := meta || jsonb_build_object('tags', value);
        when 'announce' then
            if jsonb_typeof(value) <> 'boolean' then
                perform jobs.refuse(option, 'true or false', left(value::text, 200));
            end if;
            meta := meta || jsonb_build_object('announce', value);
        when 'trace_parent', 'source' then
            if jsonb_typeof(value) <> 'string' or length(value #>> '{}') > 200 then
                perform jobs.refuse(option, 'a text', left(value::text, 200));
            end if;
            meta := meta || jsonb_build_object(option, value);
        when 'scheduled_at', 'fired_at' then
            meta := meta || jsonb_build_object(option, jobs.moment(option, value));
        when 'parent' then
            if jsonb_typeof(value) <> 'number' then
                perform jobs.refuse(option, 'the id of a job', left(value::text, 200));
            end if;
            meta := meta || jsonb_build_object('parent', value);
        when 'then' then
            if jsonb_typeof(value) <> 'array' or jsonb_array_length(value) > 100
                or exists (select from jsonb_array_elements(value) t where jsonb_typeof(t -> 'kind') is distinct from 'string') then
                perform jobs.refuse(option, 'a list of jobs with kind, payload and options', left(value::text, 200));
            end if;
            meta := meta || jsonb_build_object('then', value);
        when 'batch' then
            begin
                batch_id := (value #>> '{}')::uuid;
            exception when others then
                perform jobs.refuse(option, 'the id of a batch that still takes jobs', left(value::text, 200));
            end;
            meta := meta || jsonb_build_object('batch', batch_id);
        when 'unique' then
            if jsonb_typeof(value) = 'string' then
                value := jsonb_build_object('key', value);
            end if;
            if jsonb_typeof(value) <> 'object' or exists (select from jsonb_object_keys(value) k where k not in ('key', 'policy', 'window')) then
                perform jobs.refuse(option, 'a key, or an object with key, policy and window', left(value::text, 200));
            end if;
            unique_policy := coalesce(value ->> 'policy', 'reject');
            if unique_policy not in ('reject', 'replace', 'merge') then
                perform jobs.refuse('unique.policy', '"reject", "replace" or "merge"', quote_literal(left(unique_policy, 200)));
            end if;
            unique_key := sha256(convert_to(submit.kind || chr(10) || coalesce(value ->> 'key', job.payload::text), 'UTF8'));
            if value ? 'window' then
                unique_until := clock_timestamp() + jobs.span('unique.window', value -> 'window');
            end if;
        else
            perform jobs.refuse(left(option, 100), 'one of queue, priority, run_at, delay, attempts_max, retry, timeout, unique, family_id, '
                'concurrency_key, rate_key, tags, keep, announce, trace_parent, source, parent, scheduled_at, fired_at, batch, then', 'an unknown option');
        end case;
    end loop;

    if unique_key is not null then
        meta := meta || jsonb_build_object('unique', encode(unique_key, 'hex'));
        select held.id, held.status into submit.id, submit.status
        from jobs.take_unique(job, unique_key, unique_until, unique_policy, at) as held;
        if submit.id is not null then
            return;
        end if;
    end if;

    -- After the key: a job that is not enqueued does not join.
    if batch_id is not null then
        update jobs.batches b set total = b.total + 1, pending = b.pending + 1 where b.id = batch_id and not b.is_sealed;
        if not found then
            perform jobs.refuse('batch', 'the id of a batch that still takes jobs', batch_id::text);
        end if;
        insert into jobs.batch_jobs (batch, id) values (batch_id, job.id);
    end if;

    if submit.context is not null and pg_column_size(meta -> 'previous') > 2000 then
        previous := meta -> 'previous';
        meta := meta - 'previous';
    end if;
    job.meta := nullif(meta, '{}');
    if pg_column_size(job.payload) > 2000 or previous is not null then
        insert into jobs.payloads (id, body, previous) values (job.id, job.payload, previous);
        job.payload := null;
    end if;
    if at > clock_timestamp() then
        insert into jobs.later select (job).*, at;
    else
        insert into jobs.ready select (job).*;
        perform jobs.ring(job.queue);
    end if;
    id := job.id;
    status := 'enqueued';
end
$$;

-- Changes the payload of a job that has not begun, and its time when one is given; whether there was one.
create or replace function jobs.change_payload(job_id bigint, queue_id smallint, new_payload jsonb, is_merged boolean, at timestamptz)
    returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    job jobs.ready;
    due timestamptz;
    previous jsonb;
begin
    select l.run_at into due from jobs.later l where l.id = job_id for update;
    with gone as (
        delete from jobs.later l where l.id = job_id returning l.*
    )
    select gone.id, gone.queue, gone.priority, gone.attempt, gone.attempts_max, gone.kind, gone.family_id, gone.concurrency_key,
        gone.rate_key, gone.meta, gone.payload
    into job from gone;
    if job.id is null then
        job := jobs.take_ready(job_id, queue_id);
    end if;
    if job.id is null then
        return false;
    end if;
    if is_merged then
        new_payload := coalesce(job.payload, (select p.body from jobs.payloads p where p.id = job_id), '{}') || new_payload;
    end if;
    delete from jobs.payloads p where p.id = job_id returning p.previous into previous;
    if pg_column_size(new_payload) > 2000 or previous is not null then
        insert into jobs.payloads (id, body, previous) values (job_id, new_payload, previous);
        new_payload := null;
    end if;
    job.payload := new_payload;
    due := coalesce(at, due);
    if due > clock_timestamp() then
        insert into jobs.later select (job).*, due;
    else
        insert into jobs.ready select (job).*;
        perform jobs.ring(job.queue);
    end if;
    return true;
end
$$;

-- Gives the unfinished jobs of leases back. The attempt was counted when it was claimed, so a job is not tried for ever. A
-- job that was running in a crash twice is a suspect and runs alone from then on; a third crash while it does so is its own. When
-- its host had other jobs as well, it may have been one of those: then it takes five.
create or replace function jobs.put_back(lease_ids uuid[], code text, message text, is_crash boolean) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint;
    queues smallint[];
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
    select (select count(*) from judged) + (select count(*) from ended) * 0,
        (select array_agg(distinct j.queue) from judged j where j.fate = 'ready')
    into moved, queues;
    perform jobs.ring(q) from unnest(queues) q;
    return moved;
end
$$;

-- Gives jobs of a host back as if they had not been begun: all of its leases, or those of which it never had the answer. Those
-- that somebody wanted to end are ended.
create or replace function jobs.unclaim(host_id uuid, lease_ids uuid[] default null) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint[];
    queues smallint[];
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
    select array_agg(b.id), array_agg(distinct b.queue) into moved, queues from back b;
    perform jobs.ring(q) from unnest(queues) q;
    perform jobs.cancel(c.id, 'cancelled while it ran') from jobs.cancels c where c.id = any (moved);
    return coalesce(cardinality(moved), 0);
end
$$;

-- Makes discarded jobs available again, with all their attempts before them; how many there were. A batch that has not ended
-- waits for them again.
create or replace function jobs.revive(job_ids bigint[]) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    moved bigint;
    batch_ids uuid[];
    queues smallint[];
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
        from gone g returning queue
    )
    select count(*), array_agg(distinct b.queue) into moved, queues from back b;
    perform jobs.ring(q) from unnest(queues) q;
    return moved;
end
$$;

-- Makes a job available now: one that waits for its time, or a discarded one. Returns the state that it is in.
create or replace function jobs.retry(job_id bigint) returns text
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
        perform jobs.ring(job.queue);
        return 'available';
    end if;
    if jobs.revive(array[job_id]) = 1 then
        return 'available';
    end if;
    return (select f.state from jobs.find(job_id) f);
end
$$;

-- Another priority for a job that has not begun; whether there was one.
create or replace function jobs.reprioritise(job_id bigint, new_priority smallint) returns boolean
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
            perform jobs.ring(job.queue);
            return true;
        end if;
    end if;
    return false;
end
$$;
