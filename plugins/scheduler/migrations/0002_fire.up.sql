-- Fires. The times are computed by the plugin; what is here makes them happen in the caller's transaction.

-- A time as it is told to targets.
create function scheduler.utc(at timestamptz) returns text
    language sql immutable
    set search_path = pg_catalog, pg_temp
    return to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- Does what a schedule is for; the job, if that makes one.
create function scheduler.act(name text, action jsonb, nominal_at timestamptz, at timestamptz) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    times jsonb := jsonb_build_object(
        'scheduled_at', to_char(nominal_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'fired_at', scheduler.utc(at)
    );
    -- A job is told the times beside its payload, which is its own: many a kind refuses fields that it does not know.
    options jsonb := (action -> 'options') || times || jsonb_build_object('source', 'schedule ' || name);
begin
    if action ? 'event' then
        perform nself.emit_event(action ->> 'event', action ->> 'subject', (action -> 'data') || times);
        return null;
    end if;
    if action ? 'headers' then
        -- A request tells them to whoever gets it.
        return jobs.enqueue(
            action ->> 'kind',
            jsonb_set(action -> 'payload', '{headers}', (action #> '{payload,headers}') || jsonb_build_object(
                'x-scheduled-at', times -> 'scheduled_at', 'x-fired-at', times -> 'fired_at')),
            options
        );
    end if;
    return jobs.enqueue(action ->> 'kind', action -> 'payload', options);
end
$$;

-- Fires schedules for times, in the order that they are given in; times of one schedule stand together. The caller holds the
-- schedules' rows, so that nobody else fires them. `is_waiting` is a run that waited for the one before it. One row for each
-- time that had not been fired; `careful` keeps a target that cannot be reached from hindering the others, and costs more.
create function scheduler.fire(
    schedule_ids uuid[], nominals timestamptz[], delays_ms bigint[], waits boolean[], origin text, at timestamptz, careful boolean
)
    returns table (schedule_id uuid, nominal_at timestamptz, outcome text, job_id bigint, late_ms bigint)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    entry record;
    schedule scheduler.schedules;
    previous bigint;
    waiting timestamptz;
    is_over boolean;
    result text;
    job bigint;
    message text;
    late bigint;
begin
    for entry in
        select u.* from unnest(schedule_ids, nominals, delays_ms, waits) with ordinality
            as u (id, nominal, delay_ms, is_waiting, number) order by u.number
    loop
        if schedule.id is distinct from entry.id then
            select s.* into schedule from scheduler.schedules s where s.id = entry.id;
            continue when not found;
            previous := schedule.last_job;
            waiting := schedule.waiting_at;
        end if;
        continue when not entry.is_waiting
            and exists (select from scheduler.fires f where f.schedule_id = entry.id and f.nominal_at = entry.nominal);

        is_over := schedule.overlap = 'allow' or origin <> 'time' or previous is null
            or coalesce(jobs.state(previous) in ('completed', 'cancelled', 'discarded'), true);
        result := 'fired';
        job := null;
        message := null;
        late := case when origin = 'time' and not entry.is_waiting then (extract(epoch from at - entry.nominal) * 1000)::bigint - entry.delay_ms end;
        if not is_over then
            case schedule.overlap
            when 'cancel_previous' then
                perform jobs.cancel(previous, 'the next run of schedule ' || schedule.name || ' begins');
            when 'queue_one' then
                result := case when entry.is_waiting or waiting is null then 'waiting' else 'skipped' end;
            else
                result := 'skipped';
            end case;
        end if;
        continue when entry.is_waiting and result = 'waiting';
        if result = 'fired' and careful then
            begin
                job := scheduler.act(schedule.name, schedule.action, entry.nominal, at);
            exception when others then
                -- What is wrong with the whole, and not with this target, is tried again and loses no time.
                if left(sqlstate, 2) in ('08', '40', '53', '55', '57', '58', 'XX') or sqlstate in ('3F000', '42P01', '42883')
                    or sqlstate = '42501' and not schedule.action ? 'event' then
                    raise;
                end if;
                result := 'failed';
                message := left(sqlerrm, 1000);
            end;
        elsif result = 'fired' then
            job := scheduler.act(schedule.name, schedule.action, entry.nominal, at);
        end if;

        if entry.is_waiting then
            update scheduler.fires f set outcome = result, job_id = job, error = message, fired_at = at
            where f.schedule_id = entry.id and f.nominal_at = entry.nominal;
            waiting := null;
        else
            insert into scheduler.fires (schedule_id, nominal_at, origin, fired_at, late_ms, outcome, job_id, error)
            values (entry.id, entry.nominal, origin, at, late, result, job, message);
            if result = 'waiting' then
                waiting := entry.nominal;
            end if;
        end if;
        if result = 'fired' then
            previous := job;
        end if;
        schedule_id := entry.id;
        nominal_at := entry.nominal;
        outcome := result;
        job_id := job;
        late_ms := late;
        return next;
    end loop;
end
$$;
