-- Steering: queues and batches. Who changes a queue takes the lock under which it is claimed from, so no claim sees half of a
-- change, and none begins with the old limits after it. Hosts are told when it commits.

-- What hosts do after a change: a queue is looked at, or the list of queues is read again.
create function jobs.tell_hosts(queue_id smallint, is_listed_anew boolean) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
    return pg_notify('nself_jobs', case when is_listed_anew then 'everywhere' else 'queue ' || queue_id end);

-- The queue of that name, locked; null when there is none.
create function jobs.lock_queue(queue_name text) returns jobs.queues
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    q jobs.queues;
begin
    select o.* into q from jobs.queues o where o.name = queue_name;
    if q.id is not null then
        perform pg_advisory_xact_lock(1852138092, q.id);
        select o.* into q from jobs.queues o where o.id = q.id for update;
    end if;
    return q;
end
$$;

-- Sets who works on a queue and its limits, all of them: what is null has no limit. Makes a queue that is not there.
create function jobs.set_queue(
    queue_name text, new_worker text, max integer, per_key_max integer, per_second double precision, burst integer, rate_by text
) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    q jobs.queues := jobs.lock_queue(queue_name);
    is_new boolean := q.id is null;
begin
    if queue_name !~ '^[a-z0-9][a-z0-9_.:-]{0,62}$' then
        perform jobs.refuse('queue', 'a name in lower case, such as "media"', quote_nullable(left(queue_name, 100)));
    elsif new_worker not in ('host', 'pull') then
        perform jobs.refuse('worker', '"host" or "pull"', quote_nullable(left(new_worker, 100)));
    elsif per_key_max < 1 then
        perform jobs.refuse('running_per_key_max', 'at least 1', per_key_max::text);
    elsif per_second <= 0 or burst < 1 then
        perform jobs.refuse('rate', 'per_second above 0 and burst of at least 1', format('%s and %s', per_second, burst));
    elsif rate_by not in ('queue', 'key') then
        perform jobs.refuse('rate.by', '"queue" or "key"', quote_nullable(left(rate_by, 100)));
    end if;
    if is_new then
        q.id := jobs.queue_id(queue_name);
        q.worker := new_worker;
    end if;
    update jobs.queues o
    set worker = new_worker, running_max = max, running_per_key_max = per_key_max, rate_per_second = per_second, rate_burst = burst,
        rate_by = set_queue.rate_by
    where o.id = q.id;
    -- Those that wait for a place of their key wait for nothing now, or for less.
    if per_key_max is null then
        with gone as (delete from jobs.waiting w where w.queue = q.id returning w.*)
        insert into jobs.ready select g.* from gone g;
        delete from jobs.freed f where f.queue = q.id;
    elsif per_key_max > q.running_per_key_max then
        insert into jobs.freed (queue, concurrency_key)
        select distinct w.queue, w.concurrency_key from jobs.waiting w where w.queue = q.id;
    end if;
    if per_second is null then
        delete from jobs.rates r where r.queue = q.id;
    end if;
    perform jobs.tell_hosts(q.id, is_new or q.worker <> new_worker);
    return is_new;
end
$$;

-- Nothing of the queue begins until it is resumed; what runs goes on. Whether there is such a queue.
create function jobs.pause_queue(queue_name text, by_whom text, reason text) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    q jobs.queues := jobs.lock_queue(queue_name);
begin
    -- Who pauses what is paused, and says nothing new, leaves the first one's word.
    update jobs.queues o
    set paused_at = coalesce(o.paused_at, clock_timestamp()), paused_by = by_whom, pause_reason = reason
    where o.id = q.id and (o.paused_at is null or reason is not null);
    return q.id is not null;
end
$$;

create function jobs.resume_queue(queue_name text) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    q jobs.queues := jobs.lock_queue(queue_name);
begin
    update jobs.queues o set paused_at = null, paused_by = null, pause_reason = null where o.id = q.id;
    if found then
        perform jobs.tell_hosts(q.id, false);
    end if;
    return found;
end
$$;

-- A new batch. Jobs join it by their option `batch` until it is sealed; `next` is the job that is enqueued when the last one
-- has ended, {"kind", "payload", "options"}.
create function jobs.open_batch(name text default null, next jsonb default null, family_id uuid default null) returns uuid
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    batch_id uuid;
begin
    if next is not null and (jsonb_typeof(next -> 'kind') is distinct from 'string' or next ->> 'kind' !~ '^[a-z0-9][a-zA-Z0-9_.:-]{0,127}$'
        or jsonb_typeof(coalesce(next -> 'payload', '{}')) <> 'object' or jsonb_typeof(coalesce(next -> 'options', '{}')) <> 'object') then
        perform jobs.refuse('then', 'a job with kind, and payload and options as objects', left(next::text, 200));
    end if;
    insert into jobs.batches (name, family_id, then_kind, then_payload, then_options)
    values (left(open_batch.name, 200), open_batch.family_id, next ->> 'kind', next -> 'payload', next -> 'options')
    returning id into batch_id;
    return batch_id;
end
$$;

-- The batch takes no more jobs. Whether there is such a batch.
create function jobs.seal_batch(batch_id uuid) returns boolean
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    update jobs.batches b set is_sealed = true where b.id = batch_id;
    if not found then
        return false;
    end if;
    perform jobs.close_batch(batch_id);
    return true;
end
$$;

-- Ends at most `jobs_max` jobs of a batch, and seals it; how many of them, null when there is no such batch. Those that run
-- are told, and are in the number each time until they have ended. First the jobs are locked and then the batch, as by those that end.
create function jobs.cancel_batch(batch_id uuid, reason text, jobs_max integer) returns bigint
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    begun record;
    endings jobs.ending[] := '{}';
    cancelled bigint := 0;
begin
    for begun in
        select c.* from (select m.id from jobs.batch_jobs m where m.batch = batch_id order by m.id limit jobs_max) o
        cross join lateral jobs.begin_cancel(o.id, reason) c
    loop
        cancelled := cancelled + 1;
        if (begun.ending).id is not null then
            endings := endings || begun.ending;
        end if;
    end loop;
    update jobs.batches b set is_sealed = true, cancelled_at = coalesce(b.cancelled_at, clock_timestamp()) where b.id = batch_id;
    if not found then
        return null;
    end if;
    if endings <> '{}' then
        perform jobs.end_jobs(endings);
    end if;
    perform jobs.close_batch(batch_id);
    return cancelled;
end
$$;
