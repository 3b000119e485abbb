-- Enqueueing: functions that anybody who is let in calls in a transaction of their own. A job exists exactly when that
-- transaction commits.

-- Wakes workers that sleep, and only those. It runs at the end of the transaction, so a worker that fell asleep since the
-- job was written is seen too; what slips through the moment between this look and the commit is found by the worker's
-- own looks.
create function jobs.wake() returns trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from jobs.sleepers s where s.queue = new.queue and s.until > clock_timestamp() and not s.is_at_limit) then
        perform pg_notify('nself_jobs', 'queue ' || new.queue);
    end if;
    return null;
end
$$;

-- Once for each queue and transaction, as long as its jobs come one queue after the other. The condition is looked at for
-- every row and made ready for every statement, so it has no function of ours: that would cost more than all the rest.
create constraint trigger ready_wake after insert on jobs.ready
    deferrable initially deferred for each row
    when (current_setting('nself_jobs.told', true) is distinct from new.queue::text
        and set_config('nself_jobs.told', new.queue::text, true) is not null)
    execute function jobs.wake();

-- A job that is due before the sleepers look again by themselves.
create constraint trigger later_wake after insert on jobs.later
    deferrable initially deferred for each row
    when (new.run_at < clock_timestamp() + interval '5 seconds'
        and current_setting('nself_jobs.told', true) is distinct from new.queue::text
        and set_config('nself_jobs.told', new.queue::text, true) is not null)
    execute function jobs.wake();

-- The queue of that name, made when it is not there.
create function jobs.queue_id(name text) returns smallint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    found_id smallint;
begin
    select q.id into found_id from jobs.queues q where q.name = queue_id.name;
    if found_id is null then
        insert into jobs.queues (name) values (queue_id.name) on conflict do nothing;
        select q.id into found_id from jobs.queues q where q.name = queue_id.name;
    end if;
    return found_id;
end
$$;

-- An option that does not read. The condition is one that callers know as bad input.
create function jobs.refuse(option text, expected text, got text) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise invalid_parameter_value using
        message = format('option "%s": expected %s, found %s', option, expected, coalesce(got, 'null')),
        hint = 'docs: plugins/jobs/README.md, "Options"';
end
$$;

-- Seconds as a number, or an interval as text.
create function jobs.span(option text, value jsonb) returns interval
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    span interval;
begin
    if jsonb_typeof(value) = 'number' then
        span := make_interval(secs => (value #>> '{}')::double precision);
    elsif jsonb_typeof(value) = 'string' then
        begin
            span := (value #>> '{}')::interval;
        exception when others then
            span := null;
        end;
    end if;
    if span is null or span < interval '0' or span > interval '10 years' then
        perform jobs.refuse(option, 'seconds as a number or an interval such as "5 minutes"', value::text);
    end if;
    return span;
end
$$;

-- A time as handlers read it, whatever the text was.
create function jobs.moment(option text, value jsonb) returns text
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    moment timestamptz;
begin
    begin
        moment := (value #>> '{}')::timestamptz;
    exception when others then
        moment := null;
    end;
    if moment is null or moment not between '0001-01-02 00:00:00Z' and '9999-12-30 00:00:00Z' then
        perform jobs.refuse(option, 'a time such as "2030-01-31T12:00:00Z"', left(value::text, 200));
    end if;
    return to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

-- The one way in. `status` says what became of it: `enqueued`, or for a unique job whose key is taken `exists`, `replaced`,
-- `merged`. `context` is what a chain or a batch tells the job that follows: handlers see it beside the payload, which stays
-- as whoever wrote it wanted it.
create function jobs.submit(
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
    end if;
    id := job.id;
    status := 'enqueued';
end
$$;

-- Takes a unique key for a job; returns the job that has it when it is taken, after changing that one as the policy says.
-- Two transactions that want one key at the same time wait for each other: one of them gets it.
create function jobs.take_unique(
    job jobs.ready, unique_key bytea, unique_until timestamptz, policy text, at timestamptz, out id bigint, out status text
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    holder bigint;
begin
    loop
        insert into jobs.uniques as u (queue, key, id, until) values (job.queue, unique_key, job.id, unique_until)
        on conflict (queue, key) do update set id = excluded.id, until = excluded.until
            where u.until <= clock_timestamp()
        returning u.id into holder;
        if found then
            return;
        end if;
        select u.id into holder from jobs.uniques u where u.queue = job.queue and u.key = unique_key;
        exit when found;
        -- It was given back between the two statements.
    end loop;
    id := holder;
    status := 'exists';
    if policy <> 'reject' and jobs.change_payload(holder, job.queue, job.payload, policy = 'merge', at) then
        status := case policy when 'merge' then 'merged' else 'replaced' end;
    end if;
end
$$;

-- Changes the payload of a job that has not begun, and its time when one is given; whether there was one.
create function jobs.change_payload(job_id bigint, queue_id smallint, new_payload jsonb, is_merged boolean, at timestamptz)
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
    end if;
    return true;
end
$$;

-- Takes an available job out of its table; null when it is not there (any more).
create function jobs.take_ready(job_id bigint, queue_id smallint) returns jobs.ready
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set jit = off
as $$
declare
    job jobs.ready;
begin
    -- One priority at a time: a plan for all of them at once is one thing for an empty table and another for a full one.
    for lane in 0..9 loop
        delete from jobs.ready r
        where r.queue = queue_id and r.priority = lane::smallint and r.id = job_id and r.family_id is null
        returning r.* into job;
        exit when job.id is not null;
    end loop;
    if job.id is null then
        delete from jobs.ready r where r.queue = queue_id and r.id = job_id and r.family_id is not null returning r.* into job;
    end if;
    if job.id is null then
        delete from jobs.waiting w where w.id = job_id returning w.* into job;
    end if;
    if job.id is null then
        delete from jobs.suspects s where s.queue = queue_id and s.id = job_id returning s.* into job;
    end if;
    return job;
end
$$;

-- How long to wait before the attempt after `attempt`. A policy has `strategy` (exponential, linear, fixed), `base` and `cap`
-- (seconds or interval), `jitter` (full, none) and `codes`, policies of their own for error codes; `{"retry": false}` in one
-- of them gives up. Null: give up. The default is 2^attempt seconds with full jitter, at most an hour.
create function jobs.retry_delay(policy jsonb, attempt integer, code text) returns interval
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    own jsonb := policy -> 'codes' -> code;
    field text;
    base double precision;
    cap double precision;
    seconds double precision;
begin
    if own is not null then
        if own -> 'retry' = 'false' then
            return null;
        end if;
        return jobs.retry_delay((policy - 'codes') || (own - 'codes'), attempt, null);
    end if;
    if policy is not null and jsonb_typeof(policy) <> 'object' then
        perform jobs.refuse('retry', 'an object', left(policy::text, 200));
    end if;
    for field in select k from jsonb_object_keys(coalesce(policy, '{}')) k where k not in ('strategy', 'base', 'cap', 'jitter', 'codes', 'retry') loop
        perform jobs.refuse('retry.' || left(field, 100), 'one of strategy, base, cap, jitter, codes', 'an unknown field');
    end loop;
    base := case when policy ? 'base' then extract(epoch from jobs.span('retry.base', policy -> 'base')) else 1 end;
    cap := case when policy ? 'cap' then extract(epoch from jobs.span('retry.cap', policy -> 'cap')) else 3600 end;
    case coalesce(policy ->> 'strategy', 'exponential')
    when 'exponential' then seconds := base * power(2, least(attempt, 40));
    when 'linear' then seconds := base * attempt;
    when 'fixed' then seconds := base;
    else perform jobs.refuse('retry.strategy', '"exponential", "linear" or "fixed"', left(policy ->> 'strategy', 200));
    end case;
    seconds := least(seconds, cap);
    case coalesce(policy ->> 'jitter', 'full')
    when 'full' then seconds := seconds * random();
    when 'none' then null;
    else perform jobs.refuse('retry.jitter', '"full" or "none"', left(policy ->> 'jitter', 200));
    end case;
    return make_interval(secs => seconds);
end
$$;

-- Enqueues a job in the caller's transaction and returns its id; of a unique job whose key is taken, the id of that one.
create function jobs.enqueue(kind text, payload jsonb default '{}', options jsonb default null) returns bigint
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    job_id bigint;
begin
    -- Most jobs are plain and of a kind that has a row: one statement is all of it.
    if enqueue.options is null and pg_column_size(enqueue.payload) <= 2000 then
        insert into jobs.ready (queue, attempts_max, kind, payload)
        select k.queue, k.attempts_max, k.kind, enqueue.payload from jobs.kinds k where k.kind = enqueue.kind
        returning id into job_id;
        if found then
            return job_id;
        end if;
    end if;
    select s.id into job_id from jobs.submit(enqueue.kind, enqueue.payload, enqueue.options) s;
    return job_id;
end
$$;

-- Enqueues many: one status and id for each, in their order. Plain ones of kinds that have a row are one statement, which asks for
-- nothing else when they are of one kind.
create function jobs.submit_many(kinds text[], payloads jsonb[], options jsonb[]) returns table (id bigint, status text)
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
create function jobs.enqueue_many(kind text, payloads jsonb[], options jsonb default null) returns setof bigint
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
            return;
        end if;
    end if;
    return query
    select s.id from jobs.submit_many(
        array_fill(enqueue_many.kind, array[cardinality(payloads)]), payloads, array_fill(enqueue_many.options, array[cardinality(payloads)])
    ) s;
end
$$;

-- Enqueues a JSON list of {"kind", "payload", "options"}; their ids, in their order.
create function jobs.enqueue_many(jobs jsonb) returns setof bigint
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    kinds text[];
    payloads jsonb[];
    options jsonb[];
begin
    if jsonb_typeof(enqueue_many.jobs) <> 'array' then
        perform jobs.refuse('jobs', 'a list of jobs', left(enqueue_many.jobs::text, 200));
    end if;
    select array_agg(e.job ->> 'kind' order by e.at), array_agg(e.job -> 'payload' order by e.at), array_agg(e.job -> 'options' order by e.at)
    into kinds, payloads, options
    from jsonb_array_elements(enqueue_many.jobs) with ordinality as e (job, at);
    return query select s.id from jobs.submit_many(kinds, payloads, options) s;
end
$$;
