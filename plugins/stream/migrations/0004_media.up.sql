-- Who watches what, where. A session is admitted under its family's lock, so two that come at the same moment never both see the
-- last place; it counts while it is heard of, so a player that dies gives its place back without anybody ending it; and what it
-- plays on and what it plays are the family's own by the keys of this table.

-- What signs playback URLs: 32 bytes each, sealed by the host under its master key. All check; of those whose time has come the
-- newest makes. A key's number stands in the URLs in a byte, so numbers go round.
create table stream.playback_keys (
    id smallint not null,
    sealed bytea not null,
    created_at timestamptz not null default now(),
    -- Later than its making, so that every host knows it when the first one signs by it.
    signs_at timestamptz not null default now(),
    constraint playback_keys_pkey primary key (id),
    constraint playback_keys_id_check check (id between 1 and 255)
);

-- Adds a key that signs after so many seconds; with none at once, and then none of the others is good any more. Its number, and in
-- seconds since 1970 when it signs. By whom is written down, but of the first one.
create function stream.turn_playback_key(fresh bytea, seconds double precision, actor text, out id smallint, out signs_at bigint)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    newest smallint;
begin
    perform pg_advisory_xact_lock(hashtext('stream.playback_keys'));
    select k.id into newest from stream.playback_keys k order by k.signs_at desc, k.created_at desc limit 1;
    if seconds = 0 then
        delete from stream.playback_keys;
    end if;
    select n into strict id from (select (coalesce(newest, 0) + s - 1) % 255 + 1 as n, s from generate_series(1, 255) s) free
    where not exists (select from stream.playback_keys k where k.id = n) order by s limit 1;
    insert into stream.playback_keys as k (id, sealed, signs_at)
    values (turn_playback_key.id, fresh, clock_timestamp() + make_interval(secs => seconds))
    returning extract(epoch from k.signs_at) into signs_at;
    if actor is not null then
        perform nself.audit('stream.playback_key_turned', id::text, jsonb_build_object('at_once', seconds = 0), null, actor);
    end if;
end
$$;

-- Drops keys that have signed nothing for ten minutes: no URL lasts for longer than five.
create function stream.drop_playback_keys() returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    delete from stream.playback_keys k where exists (
        select from stream.playback_keys n
        where n.signs_at > k.signs_at and n.signs_at < clock_timestamp() - interval '10 minutes'
    )
$$;

create table stream.sessions (
    id uuid not null default nself.uuid_v7(),
    family_id uuid not null,
    -- A person, on a machine of the family or not; or a machine by itself.
    user_id uuid,
    member_id uuid,
    device_id uuid,
    -- The sign-in whose token opened it: the session's token is of no use with another one.
    sign_in_id uuid,
    -- One of them; neither once it was deleted.
    media_item_id uuid,
    live_event_id uuid,
    -- As it was admitted: who is less today has to ask again.
    role text not null,
    priority text not null,
    -- SHA-256. The token itself is told once.
    token_hash bytea not null,
    -- Places that there were for it, for when it comes back after a silence.
    user_limit bigint not null,
    family_limit bigint not null,
    admitted_at timestamptz not null default clock_timestamp(),
    -- What heartbeats write. It is in no index, so that an update touches none and stays on its page.
    seen_at timestamptz not null default clock_timestamp(),
    state text not null default 'playing',
    position_ms bigint,
    ended_at timestamptz,
    end_reason text,
    constraint sessions_pkey primary key (id),
    constraint sessions_family_id_fkey foreign key (family_id) references public.families (id) on delete cascade,
    constraint sessions_member_id_fkey foreign key (family_id, member_id)
        references public.family_members (family_id, id) on delete cascade,
    constraint sessions_device_id_fkey foreign key (family_id, device_id)
        references public.devices (family_id, id) on delete cascade,
    constraint sessions_media_item_id_fkey foreign key (family_id, media_item_id)
        references public.media_items (family_id, id) on delete set null (media_item_id),
    constraint sessions_live_event_id_fkey foreign key (family_id, live_event_id)
        references public.live_events (family_id, id) on delete set null (live_event_id),
    constraint sessions_watcher_check check (
        (user_id is null) = (member_id is null) and num_nonnulls(user_id, device_id) > 0
    ),
    constraint sessions_content_check check (num_nonnulls(media_item_id, live_event_id) <= 1),
    constraint sessions_priority_check check (priority in ('normal', 'low')),
    constraint sessions_token_hash_check check (length(token_hash) = 32),
    constraint sessions_state_check check (state in ('playing', 'paused', 'idle')),
    constraint sessions_position_ms_check check (position_ms >= 0),
    constraint sessions_ended_check check ((ended_at is null) = (end_reason is null))
) with (fillfactor = 70);

create index sessions_open_idx on stream.sessions (family_id) where ended_at is null;
-- What has ended a moment ago is asked for by every host; what ended long ago is deleted.
create index sessions_ended_at_idx on stream.sessions (ended_at) where ended_at is not null;
create index sessions_member_id_idx on stream.sessions (family_id, member_id) where member_id is not null;
create index sessions_device_id_idx on stream.sessions (family_id, device_id) where device_id is not null;
create index sessions_media_item_id_idx on stream.sessions (family_id, media_item_id) where media_item_id is not null;
create index sessions_live_event_id_idx on stream.sessions (family_id, live_event_id) where live_event_id is not null;

select nself.isolate('stream.sessions');

-- How long somebody has watched, by the hour: a day and a month begin when the family's clock says so.
create table stream.watched (
    family_id uuid not null,
    -- The person, or the machine by itself.
    watcher_id uuid not null,
    hour timestamptz not null,
    milliseconds bigint not null,
    constraint watched_pkey primary key (family_id, watcher_id, hour),
    constraint watched_family_id_fkey foreign key (family_id) references public.families (id) on delete cascade
) with (fillfactor = 70);

create index watched_hour_idx on stream.watched (hour);

select nself.isolate('stream.watched');

-- Open sessions, and what speaks against each: who may act in a family and see what is said by the shared model, and this reads it.
-- What a role sees, and what a machine by itself is shown, is said by the policy (`nself.sees_content`).
create view stream.judged with (security_invoker = true) as
select
    s.id, s.family_id,
    case
        when f.id is null or f.deleted_at is not null then 'family'
        when s.user_id is not null and m.status is distinct from 'active' then 'member'
        when s.device_id is not null and (d.id is null or d.revoked_at is not null) then 'device'
        when r.now < r.admitted then 'role'
        when c.visibility is null then 'content'
        when not nself.sees_content(
            case when s.user_id is null then 'DEVICE' else m.role end, c.visibility, c.author_id, c.child_approved_at, s.member_id
        ) then 'content'
        when not c.is_ready then 'not_ready'
        when not p.can_watch then 'can_watch'
        when array_position(array['all_ages', 'from_7', 'from_13', 'from_16', 'adults'], c.content_rating)
            > array_position(array['all_ages', 'from_7', 'from_13', 'from_16', 'adults'], p.content_rating)
            then 'parental_level'
        -- It has no place any more anyway; this is only for who reads the list.
        when s.seen_at < clock_timestamp() - interval '10 minutes' then 'timeout'
    end as refusal
from stream.sessions s
left join public.families f on f.id = s.family_id
left join public.family_members m on m.family_id = s.family_id and m.id = s.member_id
left join public.devices d on d.family_id = s.family_id and d.id = s.device_id
left join public.parental_controls p on p.family_id = s.family_id and p.member_id = s.member_id
left join lateral (
    select i.visibility, i.author_id, i.child_approved_at, i.content_rating, i.state = 'ready' as is_ready
    from public.media_items i
    where i.family_id = s.family_id and i.id = s.media_item_id and i.deleted_at is null and i.kind in ('video', 'audio')
    union all
    select l.visibility, l.author_id, l.child_approved_at, l.content_rating, l.state = 'live'
    from public.live_events l
    where l.family_id = s.family_id and l.id = s.live_event_id and l.deleted_at is null
) c on true
cross join lateral (
    select
        array_position(array['CHILD_MEMBER', 'YOUTH_MEMBER', 'ADULT_MEMBER', 'ADMIN', 'OWNER'], m.role) as now,
        array_position(array['CHILD_MEMBER', 'YOUTH_MEMBER', 'ADULT_MEMBER', 'ADMIN', 'OWNER'], s.role) as admitted
) r
where s.ended_at is null;

-- Whoever counts places of a family, or ends its sessions, holds this first. It is taken before any row is.
create function stream.hold_places(family uuid) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    select pg_advisory_xact_lock(hashtextextended('stream.sessions ' || family, 0))
$$;

-- What somebody has used up, the most they may have of it in seconds or minutes as it is set, and the seconds until there is some
-- again; no reason when there is enough.
create function stream.quota_of(
    family uuid, member uuid, watcher uuid, out reason text, out allowed bigint, out retry_after bigint
)
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    zone text;
    here timestamp;
    rules public.parental_controls;
    monthly bigint;
    opens_at timestamp;
begin
    select p.* into rules from public.parental_controls p where p.family_id = family and p.member_id = member;
    select q.stream_minutes_monthly into monthly from public.family_quotas q where q.family_id = family;
    if rules.screen_minutes_daily is null and rules.bedtime_from is null and monthly is null then
        return;
    end if;
    select s.timezone into zone from public.family_settings s where s.family_id = family;
    begin
        here := clock_timestamp() at time zone zone;
    exception when invalid_parameter_value then
        -- A zone that this server does not know.
        zone := 'UTC';
        here := clock_timestamp() at time zone zone;
    end;
    if (case
        when rules.bedtime_from <= rules.bedtime_until
            then here::time >= rules.bedtime_from and here::time < rules.bedtime_until
        else here::time >= rules.bedtime_from or here::time < rules.bedtime_until
    end) then
        reason := 'bedtime';
        opens_at := here::date + rules.bedtime_until;
        if opens_at <= here then
            opens_at := opens_at + interval '1 day';
        end if;
    elsif rules.screen_minutes_daily * 60000 <= (
        select coalesce(sum(w.milliseconds), 0) from stream.watched w
        where w.family_id = family and w.watcher_id = watcher and w.hour >= date_trunc('day', here) at time zone zone
    ) then
        reason := 'screen_minutes_daily';
        allowed := rules.screen_minutes_daily;
        opens_at := date_trunc('day', here) + interval '1 day';
    elsif monthly * 60000 <= (
        select coalesce(sum(w.milliseconds), 0) from stream.watched w
        where w.family_id = family and w.hour >= date_trunc('month', here) at time zone zone
    ) then
        reason := 'stream_minutes_monthly';
        allowed := monthly;
        opens_at := date_trunc('month', here) + interval '1 month';
    end if;
    retry_after := ceil(extract(epoch from opens_at at time zone zone - clock_timestamp()));
end
$$;

-- Ends a session, tells whoever plays it, and writes it down; whether it was open. The family's places are held.
create function stream.end_session(one uuid, reason text, actor text) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    ended stream.sessions;
    player uuid;
begin
    update stream.sessions s set ended_at = clock_timestamp(), end_reason = reason
    where s.id = one and s.ended_at is null
    returning s.* into ended;
    if not found then
        return false;
    end if;
    for player in select distinct p.id from unnest(array[ended.user_id, ended.device_id]) p (id) where p.id is not null loop
        perform stream.publish(
            'user:' || player, jsonb_build_object('type', 'stream.session_ended', 'session_id', one, 'reason', reason)
        );
    end loop;
    perform nself.audit(
        'stream.session_ended', one::text,
        jsonb_build_object('reason', reason, 'user_id', ended.user_id, 'device_id', ended.device_id),
        ended.family_id, actor
    );
    return true;
end
$$;

-- The same for who does not hold the family's places yet; whether it was open and of that family.
create function stream.end_one(family uuid, one uuid, reason text, actor text) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform stream.hold_places(family);
    if not exists (select from stream.sessions s where s.id = one and s.family_id = family) then
        return false;
    end if;
    return stream.end_session(one, reason, actor);
end
$$;

-- Admits a session or says why not. `rules` are the installation's: {"timeout_seconds", "idle_seconds", "per_user", "per_family",
-- "per_content", "per_device"}; a limit of 0 is none. In one call because it is one decision: from the lock to the commit nobody
-- else counts this family's places.
create function stream.admit(
    family uuid, person uuid, machine uuid, sign_in uuid, content_kind text, content uuid, session_priority text,
    new_token_hash bytea, rules jsonb,
    out session_id uuid, out refusal text, out allowed bigint, out taken bigint, out retry_after bigint, out evicted uuid[],
    out replaced uuid[]
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    who text := coalesce(person, machine)::text;
    timeout interval := make_interval(secs => (rules ->> 'timeout_seconds')::double precision);
    idle interval := make_interval(secs => (rules ->> 'idle_seconds')::double precision);
    member uuid;
    member_role text := 'DEVICE';
    item uuid := case content_kind when 'media' then content end;
    event uuid := case content_kind when 'live' then content end;
    user_places bigint;
    family_places bigint;
    victim uuid;
    scope text;
    oldest timestamptz;
begin
    evicted := '{}';
    replaced := '{}';
    perform stream.hold_places(family);
    if person is not null then
        select m.id, m.role into member, member_role from public.family_members m
        where m.family_id = family and m.user_id = person and m.status = 'active';
        if not found then
            refusal := 'member';
            return;
        end if;
    end if;
    if machine is not null and not exists (
        select from public.devices d where d.family_id = family and d.id = machine and d.revoked_at is null
    ) then
        refusal := 'device';
        return;
    end if;
    if not exists (
        select from public.media_items i where i.family_id = family and i.id = item
        union all
        select from public.live_events l where l.family_id = family and l.id = event
    ) then
        refusal := 'content';
        return;
    end if;
    select least((rules ->> 'per_user')::bigint, min(p.streams_max)) into user_places
    from public.parental_controls p where p.family_id = family and p.member_id = member;
    select coalesce(min(q.streams_max), (rules ->> 'per_family')::bigint) into family_places
    from public.family_quotas q where q.family_id = family;

    insert into stream.sessions as s (
        family_id, user_id, member_id, device_id, sign_in_id, media_item_id, live_event_id, role, priority, token_hash,
        user_limit, family_limit
    )
    values (
        family, person, member, machine, sign_in, item, event, member_role, session_priority, new_token_hash,
        user_places, family_places
    )
    returning s.id into session_id;
    select j.refusal into refusal from stream.judged j where j.id = session_id;
    if refusal is null then
        select q.reason, q.allowed, q.retry_after into refusal, allowed, retry_after
        from stream.quota_of(family, member, coalesce(person, machine)) q;
    end if;

    -- Who comes again from the same place takes their own place over.
    replaced := array(
        select s.id from stream.sessions s
        where s.family_id = family and s.ended_at is null and s.id <> session_id
            and case
                when machine is not null then s.device_id = machine
                else s.device_id is null and s.user_id = person and s.sign_in_id = sign_in
            end
        order by s.admitted_at desc, s.id desc
        offset greatest((rules ->> 'per_device')::bigint - 1, 0)
    );
    evicted := replaced;
    foreach scope in array array['per_content', 'per_user', 'per_family'] loop
        exit when refusal is not null;
        allowed := case scope
            when 'per_content' then nullif((rules ->> 'per_content')::bigint, 0)
            when 'per_user' then user_places
            else family_places
        end;
        loop
            select count(*), min(s.seen_at) into taken, oldest from stream.rivals(family, session_id, scope, timeout) s
            where s.id <> all (evicted);
            exit when allowed is null or taken < allowed;
            select s.id into victim
            from stream.rivals(family, session_id, scope, timeout) s
            cross join lateral (
                select case
                    when s.state = 'idle' or s.seen_at < clock_timestamp() - idle then 1
                    when s.state = 'paused' then 2
                    when s.priority = 'low' and session_priority <> 'low' then 3
                end as class
            ) c
            where c.class is not null and s.id <> all (evicted)
            order by c.class, s.admitted_at, s.id
            limit 1;
            if not found then
                refusal := scope;
                -- Until the one that was heard of longest ago could be given up for dead.
                retry_after := greatest(1, ceil(extract(epoch from coalesce(oldest, clock_timestamp()) + timeout - clock_timestamp())));
                exit;
            end if;
            evicted := evicted || victim;
        end loop;
    end loop;

    if refusal is not null then
        -- Nobody else has seen it.
        delete from stream.sessions s where s.id = session_id;
        session_id := null;
        evicted := '{}';
        replaced := '{}';
        return;
    end if;
    allowed := null;
    taken := null;
    for victim in select e.id from unnest(evicted) e (id) order by e.id loop
        perform stream.end_session(victim, case when victim = any (replaced) then 'replaced' else 'evicted' end, who);
    end loop;
    perform nself.audit(
        'stream.session_admitted', session_id::text,
        jsonb_build_object('user_id', person, 'device_id', machine, 'content_kind', content_kind, 'content_id', content),
        family, who
    );
end
$$;

-- Those that take the places which a new session asks for: open ones that were heard of.
create function stream.rivals(family uuid, newcomer uuid, scope text, timeout interval) returns setof stream.sessions
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select s.* from stream.sessions s, stream.sessions n
    where n.id = newcomer and s.family_id = family and s.ended_at is null and s.id <> newcomer
        and s.seen_at > clock_timestamp() - timeout
        and case scope
            when 'per_content' then (s.media_item_id, s.live_event_id) is not distinct from (n.media_item_id, n.live_event_id)
            when 'per_user' then coalesce(s.user_id, s.device_id) = coalesce(n.user_id, n.device_id)
            else true
        end
$$;

-- Heartbeats of many sessions, each as long ago as it says; those that took theirs. One that is not among them has ended, or was
-- silent for so long that its place may be somebody else's: `stream.revive` finds out.
create function stream.beat(
    ids uuid[], ages_ms bigint[], states text[], positions_ms bigint[], timeout_seconds bigint
) returns setof uuid
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    with beat as materialized (
        -- A position of -1 is none.
        select b.id, clock_timestamp() - b.age_ms * interval '1 millisecond' as seen_at, b.state,
            nullif(b.position_ms, -1) as position_ms
        from unnest(ids, ages_ms, states, positions_ms) b (id, age_ms, state, position_ms)
    ), before as materialized (
        -- All in one order, so that two hosts do not wait for one another.
        select s.id, s.family_id, coalesce(s.user_id, s.device_id) as watcher_id, s.state, s.seen_at
        from stream.sessions s
        where s.id = any (ids) and s.ended_at is null
            and s.seen_at > clock_timestamp() - make_interval(secs => timeout_seconds)
        order by s.id for update
    ), counted as (
        insert into stream.watched as w (family_id, watcher_id, hour, milliseconds)
        select p.family_id, p.watcher_id, date_trunc('hour', b.seen_at),
            sum((extract(epoch from b.seen_at - p.seen_at) * 1000)::bigint)
        from before p join beat b on b.id = p.id
        where p.state = 'playing' and b.seen_at > p.seen_at
        group by 1, 2, 3 order by 1, 2, 3
        on conflict (family_id, watcher_id, hour) do update set milliseconds = w.milliseconds + excluded.milliseconds
    )
    update stream.sessions s
    set seen_at = greatest(s.seen_at, b.seen_at), state = b.state, position_ms = coalesce(b.position_ms, s.position_ms)
    from before p join beat b on b.id = p.id
    where s.id = p.id
    returning s.id
$$;

-- A session comes back after a silence: it goes on when there is still a place for it, and has ended when there is none. So
-- what played on while the database was away plays on afterwards.
create function stream.revive(one uuid, age_ms bigint, new_state text, new_position_ms bigint, timeout_seconds bigint) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    back stream.sessions;
    timeout interval := make_interval(secs => timeout_seconds);
begin
    select s.* into back from stream.sessions s where s.id = one and s.ended_at is null;
    if not found then
        return false;
    end if;
    perform stream.hold_places(back.family_id);
    if (select count(*) >= back.user_limit from stream.rivals(back.family_id, one, 'per_user', timeout))
        or (select count(*) >= back.family_limit from stream.rivals(back.family_id, one, 'per_family', timeout))
    then
        perform stream.end_session(one, 'timeout', null);
        return false;
    end if;
    update stream.sessions s
    set seen_at = greatest(s.seen_at, clock_timestamp() - age_ms * interval '1 millisecond'), state = new_state,
        position_ms = coalesce(new_position_ms, s.position_ms)
    where s.id = one and s.ended_at is null;
    return found;
end
$$;

-- Ends what may not go on: of people and machines that were put out of their families, who became less, of content that is gone
-- or not for them, and, where quotas are looked at, of who has used up their time. How many those were.
create function stream.end_unfit(is_with_quotas boolean) returns bigint
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    held uuid[];
    family uuid;
    one record;
    ended bigint := 0;
begin
    select array_agg(distinct u.family_id order by u.family_id) into held from stream.unfit(is_with_quotas) u;
    if held is null then
        return 0;
    end if;
    -- All locks before all rows, each in one order.
    foreach family in array held loop
        perform stream.hold_places(family);
    end loop;
    for one in select u.* from stream.unfit(is_with_quotas) u where u.family_id = any (held) order by u.id loop
        if stream.end_session(one.id, one.reason, null) then
            ended := ended + 1;
        end if;
    end loop;
    return ended;
end
$$;

create function stream.unfit(is_with_quotas boolean) returns table (id uuid, family_id uuid, reason text)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select j.id, j.family_id, j.refusal from stream.judged j where j.refusal is not null
    union all
    select s.id, s.family_id, q.reason
    from stream.sessions s
    join stream.judged j on j.id = s.id and j.refusal is null
    left join public.parental_controls p on p.family_id = s.family_id and p.member_id = s.member_id
    left join public.family_quotas f on f.family_id = s.family_id
    cross join lateral stream.quota_of(s.family_id, s.member_id, coalesce(s.user_id, s.device_id)) q
    where is_with_quotas and s.ended_at is null and q.reason is not null
        and num_nonnulls(p.screen_minutes_daily, p.bedtime_from, f.stream_minutes_monthly) > 0
$$;

-- Drops sessions that ended 30 days ago and hours of more than 100 days ago, at most `step` of each; how many.
create function stream.prune_media(step bigint) returns bigint
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    with sessions as (
        delete from stream.sessions s where s.id in (
            select o.id from stream.sessions o where o.ended_at < clock_timestamp() - interval '30 days' limit step
        ) returning 1
    ), hours as (
        delete from stream.watched w where (w.family_id, w.watcher_id, w.hour) in (
            select o.family_id, o.watcher_id, o.hour from stream.watched o
            where o.hour < clock_timestamp() - interval '100 days' limit step
        ) returning 1
    )
    select (select count(*) from sessions) + (select count(*) from hours)
$$;
