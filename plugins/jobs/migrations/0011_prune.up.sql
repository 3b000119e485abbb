-- Retention: no table only grows. Finished jobs go by the day, by dropping a partition; of the rest at most some thousand rows
-- at a time.

-- Makes the partitions of yesterday to the day after tomorrow, so that no job ends without a place. Making and dropping one
-- locks the whole table for a moment: who cannot have it at once tries again at the next run, instead of queueing before
-- those who complete jobs.
create function jobs.make_partitions() returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '500ms'
as $$
declare
    today date := (clock_timestamp() at time zone 'UTC')::date;
    begins date;
    name text;
begin
    for begins in select today + n from generate_series(-1, 2) as n loop
        name := 'finished_' || to_char(begins, 'YYYYMMDD');
        if to_regclass('jobs.' || name) is null then
            begin
                execute format(
                    'create table jobs.%I partition of jobs.finished for values from (%L) to (%L)',
                    name, begins::timestamp at time zone 'UTC', (begins + 1)::timestamp at time zone 'UTC'
                );
            exception
                when duplicate_table then
                    null;
                when lock_not_available then
                    -- Without today's no job can end: that is an error.
                    if begins = today then
                        raise;
                    end if;
            end;
        end if;
    end loop;
end
$$;

-- Drops what is older than the limits; how much it was, partitions and rows. Call again until it is nothing.
create function jobs.prune(finished_days integer, dead_days integer) returns bigint
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '500ms'
as $$
declare
    today date := (clock_timestamp() at time zone 'UTC')::date;
    old record;
    pruned bigint := 0;
    removed bigint;
begin
    for old in
        select c.oid::regclass as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'jobs.finished'::regclass and c.relname ~ '^finished_[0-9]{8}$'
            and to_date(substring(c.relname from 10), 'YYYYMMDD') < today - finished_days
    loop
        begin
            execute format('drop table %s', old.name);
            pruned := pruned + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;

    with gone as (
        delete from jobs.dead d where d.id in (
            select f.id from jobs.dead f where f.failed_at < clock_timestamp() - make_interval(days => dead_days)
            order by f.failed_at limit 5000 for update skip locked
        ) returning d.id
    ), bodies as (
        delete from jobs.payloads p using gone g where p.id = g.id
    )
    select count(*) into removed from gone;
    pruned := pruned + removed;

    delete from jobs.uniques u where (u.queue, u.key) in (
        select o.queue, o.key from jobs.uniques o where o.until < clock_timestamp() - interval '1 minute' order by o.until limit 5000
    );
    get diagnostics removed = row_count;
    pruned := pruned + removed;

    delete from jobs.logs l where (l.id, l.number) in (
        select o.id, o.number from jobs.logs o where o.at < clock_timestamp() - make_interval(days => greatest(finished_days, dead_days))
        order by o.at limit 5000
    );
    get diagnostics removed = row_count;
    pruned := pruned + removed;

    delete from jobs.progress p where p.id in (
        select o.id from jobs.progress o where o.at < clock_timestamp() - make_interval(days => finished_days) limit 5000
    );
    get diagnostics removed = row_count;
    pruned := pruned + removed;

    -- Batches that have ended; and those that nobody sealed and that have no job left.
    delete from jobs.batches b where b.id in (
        select o.id from jobs.batches o
        where o.finished_at < clock_timestamp() - make_interval(days => finished_days)
            or (o.finished_at is null and o.pending = 0 and o.created_at < clock_timestamp() - make_interval(days => finished_days))
        limit 5000
    );
    get diagnostics removed = row_count;
    pruned := pruned + removed;

    -- A key that is full again, and a sleeper that nobody has heard of, say nothing.
    delete from jobs.rates r where (r.queue, r.key) in (
        select o.queue, o.key from jobs.rates o where o.next_at < clock_timestamp() - interval '1 hour' limit 5000
    );
    get diagnostics removed = row_count;
    pruned := pruned + removed;

    delete from jobs.sleepers s where s.until < clock_timestamp() - interval '1 hour';
    get diagnostics removed = row_count;
    return pruned + removed;
end
$$;

select jobs.make_partitions();
