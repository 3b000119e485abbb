-- The log of channels: what was published, in the order in which the transactions of its publishers committed. A publication
-- exists exactly when its transaction commits, and its offset is the next one of its channel: no gap, whatever rolls back.

-- What the plugin's configuration says about kinds of channels. Written when a host starts: SQL that publishes has to know.
create table stream.namespaces (
    name text primary key,
    history_size bigint not null,
    history_seconds bigint not null,
    is_ephemeral boolean not null,
    bytes_max bigint not null
);

-- A channel that somebody published or subscribed to. `epoch` is told apart from the next one's after the row was dropped and
-- made anew: offsets of another epoch mean nothing.
create table stream.channels (
    id bigint generated always as identity primary key,
    name text not null constraint channels_name unique,
    namespace text not null,
    epoch text not null default left(replace(gen_random_uuid()::text, '-', ''), 8),
    top bigint not null default 0,
    used_at timestamptz not null default now()
) with (fillfactor = 70);

create index channels_used_at on stream.channels (used_at);

-- What an operator has said about which course of events this is; see `stream.begin_anew`.
create table stream.beginnings (
    mark uuid not null default gen_random_uuid(),
    made_at timestamptz not null default now()
);

-- Which course of events the log is on. A backup that is put back holds the same epochs with fewer publications, and goes on with
-- others: it is another cluster, another timeline of the cluster (a promoted standby, a recovery to some point), another database or at
-- least another table. Only who copies the files of a stopped server back tells nobody.
create function stream.course() returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select concat_ws(
        '/', (select s.system_identifier from pg_control_system() s), left(pg_walfile_name(pg_current_wal_lsn()), 8),
        (select d.oid from pg_database d where d.datname = current_database()), 'stream.channels'::regclass::oid,
        (select string_agg(b.mark::text, '/' order by b.made_at, b.mark) from stream.beginnings b)
    )
$$;

-- The epoch as clients know it: another one where the same row is on another course.
create function stream.epoch_of(own text) returns text
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select left(md5(own || '/' || stream.course()), 8)
$$;

-- For operators who have put files back: nothing that anybody knows of a channel is to be gone on from.
create function stream.begin_anew() returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    insert into stream.beginnings default values
$$;

create table stream.publications (
    channel_id bigint not null,
    off bigint not null,
    data jsonb not null,
    info jsonb,
    tags jsonb,
    created_at timestamptz not null default clock_timestamp(),
    constraint publications_pkey primary key (channel_id, off)
);

-- Keys that make a publication that is said twice one publication, as long as they are kept.
create table stream.keys (
    channel_id bigint not null,
    key text not null,
    off bigint not null,
    until timestamptz not null,
    constraint keys_pkey primary key (channel_id, key)
);

create index keys_until on stream.keys (until);

-- What a transaction that is still running has published. It never outlives its transaction, so nothing of it needs the
-- write-ahead log.
create unlogged table stream.staged (
    id bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    channel text not null,
    namespace text not null,
    is_ephemeral boolean not null,
    data jsonb not null,
    tags jsonb,
    key text
);

create index staged_xid on stream.staged (xid);

-- Hosts whose readers have nothing to read and want to be woken. A NOTIFY holds a lock that all notifying transactions of the
-- server share until its commit is done, so a writer sends one only while somebody waits.
create unlogged table stream.waiters (
    node uuid primary key,
    until timestamptz not null
);

-- Hosts that do not listen, because of what stands between them and the server: they look here for what is told, and writers write it
-- down while there are any.
create unlogged table stream.pollers (
    node uuid primary key,
    until timestamptz not null
);

create unlogged table stream.told (
    id bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    text text not null,
    at timestamptz not null default clock_timestamp()
);

create index told_xid on stream.told (xid);

-- Tells all hosts something, when the transaction commits.
create function stream.tell(text text) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('nself_stream', tell.text);
    if exists (select from stream.pollers p where p.until > clock_timestamp()) then
        insert into stream.told (text) values (tell.text);
    end if;
end
$$;

-- What was told by transactions that had not ended when the host looked last, of which it may know some; and from where on it looks
-- the next time: whatever is older has ended, and was seen. There is one row at least. The host stands among those that look.
create function stream.hear(mine uuid, since bigint) returns table (upto bigint, id bigint, text text)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- A row is not written for every look.
    if not exists (select from stream.pollers p where p.node = mine and p.until > clock_timestamp() + interval '10 seconds') then
        insert into stream.pollers as p (node, until) values (mine, clock_timestamp() + interval '15 seconds')
        on conflict (node) do update set until = excluded.until;
    end if;
    return query
        select pg_snapshot_xmin(pg_current_snapshot())::text::bigint, t.id, t.text
        from (values (1)) one left join stream.told t on t.xid >= since::text::xid8
        order by t.id;
end
$$;

-- What does not read. The condition is one that callers know as bad input.
create function stream.refuse(what text, expected text, got text) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise invalid_parameter_value using
        message = format('%s: expected %s, found %s', what, expected, coalesce(got, 'null')),
        hint = 'docs: plugins/stream/README.md, "Channels"';
end
$$;

-- The namespace of a channel, by the same rules as src/channel.rs: the name must be whole here, without anything left for a
-- principal to fill in.
create function stream.namespace_of(channel text) returns stream.namespaces
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    known stream.namespaces;
    kind text := split_part(channel, ':', 1);
begin
    -- A person's own in a family is theirs and nothing below it.
    if channel like 'family:%' and split_part(channel, ':', 3) = 'me'
        and channel !~ '^family:[^:]+:me:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        or channel is null or length(channel) > 255 or channel !~ '^[A-Za-z0-9_.~-]+(:[A-Za-z0-9_.~-]+)*$'
        or channel ~ '(^|:)[.]+(:|$)'
        or channel !~ '^(family:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}:.|user:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(:|$)|public:.)'
    then
        perform stream.refuse('channel', 'family:<id>:<rest>, user:<id> or public:<rest>', quote_nullable(left(channel, 300)));
    end if;
    if kind = 'family' then
        select n.* into known from stream.namespaces n
        where n.name = split_part(channel, ':', 3) and n.name not in ('user', 'public');
    end if;
    if known.name is null then
        select n.* into known from stream.namespaces n where n.name = kind;
    end if;
    if known.name is null then
        perform stream.refuse('channel', 'a namespace that a host has written down', kind);
    end if;
    return known;
end
$$;

-- What the namespaces are: those of the list, `[{"name": .., "history_size": .., ..}]`, and no others.
create function stream.write_namespaces(list jsonb) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    delete from stream.namespaces n where n.name not in (select e ->> 'name' from jsonb_array_elements(list) e);
    insert into stream.namespaces as n select r.* from jsonb_populate_recordset(null::stream.namespaces, list) r
    on conflict (name) do update set history_size = excluded.history_size, history_seconds = excluded.history_seconds,
        is_ephemeral = excluded.is_ephemeral, bytes_max = excluded.bytes_max;
$$;

-- The row of a channel, made when it is not there, and held until the transaction ends.
create function stream.hold(name text, namespace text) returns stream.channels
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    held stream.channels;
begin
    loop
        select c.* into held from stream.channels c where c.name = hold.name for update;
        exit when found;
        insert into stream.channels (name, namespace) values (hold.name, hold.namespace) on conflict do nothing;
        -- It may have been dropped between the two.
    end loop;
    return held;
end
$$;

-- Wakes readers that wait, and only those.
create function stream.wake() returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from stream.waiters w where w.until > clock_timestamp()) then
        perform pg_notify('nself_stream', '');
    end if;
end
$$;

-- Gives what the transaction has published its offsets. It runs at the end of the transaction, channel after channel in one
-- order for all: whoever takes several can then not wait for who waits for it, and a channel is held for the commit and no
-- longer. Offsets follow from the lock: the next publisher sees `top` when this transaction has committed.
create function stream.settle() returns trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    mine xid8 := new.xid;
    one record;
    held stream.channels;
    written bigint;
begin
    -- The first row of the transaction settles all of them.
    if not exists (select from stream.staged s where s.id = new.id) then
        return null;
    end if;
    for one in
        select s.channel, min(s.namespace) as namespace from stream.staged s
        where s.xid = mine and not s.is_ephemeral
        group by s.channel order by s.channel collate "C"
    loop
        held := stream.hold(one.channel, one.namespace);
        with fresh as (
            select s.data, s.tags, s.key, held.top + row_number() over (order by s.id) as off
            from stream.staged s
            where s.xid = mine and s.channel = one.channel and (s.key is null or not exists (
                select from stream.keys k
                where k.channel_id = held.id and k.key = s.key and k.until > clock_timestamp()
            ) and not exists (
                select from stream.staged e
                where e.xid = mine and e.channel = s.channel and e.key = s.key and e.id < s.id
            ))
        ), told as (
            insert into stream.publications (channel_id, off, data, tags)
            select held.id, f.off, f.data, f.tags from fresh f
            returning 1
        ), kept as (
            insert into stream.keys as k (channel_id, key, off, until)
            select held.id, f.key, f.off, clock_timestamp() + interval '5 minutes' from fresh f where f.key is not null
            on conflict (channel_id, key) do update set off = excluded.off, until = excluded.until
        )
        select count(*) into written from told;
        update stream.channels c set top = c.top + written, used_at = clock_timestamp() where c.id = held.id;
    end loop;
    -- What is not kept goes to whoever listens at this moment.
    perform stream.tell(jsonb_build_object('kind', 'publication', 'channel', s.channel, 'data', s.data, 'tags', s.tags)::text)
    from stream.staged s where s.xid = mine and s.is_ephemeral;
    perform stream.wake() where exists (select from stream.staged s where s.xid = mine and not s.is_ephemeral);
    delete from stream.staged s where s.xid = mine;
    return null;
end
$$;

create constraint trigger staged_settle after insert on stream.staged
    deferrable initially deferred for each row execute function stream.settle();

-- Publishes in the caller's transaction: whoever subscribed is told once it has committed, and nothing when it has not.
-- Options: `key`, which makes the same publication within five minutes no second one; `tags`, an object of texts.
create function stream.publish(channel text, data jsonb, options jsonb default '{}') returns void
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    known stream.namespaces := stream.namespace_of(channel);
    options jsonb := coalesce(publish.options, '{}');
    family uuid := nself.current_family_id();
    unknown text;
begin
    if data is null then
        perform stream.refuse('data', 'a value of JSON', null);
    end if;
    if jsonb_typeof(options) <> 'object' then
        perform stream.refuse('options', 'an object', left(options::text, 200));
    end if;
    select k into unknown from jsonb_object_keys(options) k where k not in ('key', 'tags') limit 1;
    if unknown is not null then
        perform stream.refuse('options', 'key or tags', quote_literal(left(unknown, 100)));
    end if;
    if options -> 'key' <> 'null' and (jsonb_typeof(options -> 'key') <> 'string' or length(options ->> 'key') not between 1 and 200) then
        perform stream.refuse('key', 'a text of at most 200 characters', left((options -> 'key')::text, 200));
    end if;
    if options -> 'tags' <> 'null' and (jsonb_typeof(options -> 'tags') <> 'object' or pg_column_size(options -> 'tags') > 2000
        or exists (select from jsonb_each(options -> 'tags') t where jsonb_typeof(t.value) <> 'string')) then
        perform stream.refuse('tags', 'an object of short texts', left((options -> 'tags')::text, 200));
    end if;
    -- What is not kept travels in a NOTIFY, which takes 8000 bytes.
    if known.is_ephemeral and octet_length(data::text) + octet_length(coalesce(options ->> 'tags', '')) > 7000 then
        raise program_limit_exceeded using message = 'data and tags have more than 7000 bytes, and the namespace keeps nothing';
    end if;
    if octet_length(data::text) > known.bytes_max then
        raise program_limit_exceeded using
            message = format('the data has %s bytes, which is more than a publication of %s may have (%s)',
                octet_length(data::text), known.name, known.bytes_max),
            hint = 'store it where it belongs and publish its name';
    end if;
    -- The host says for whom a plugin works; in that family's name it speaks to no other one.
    if family is not null and channel like 'family:%' and channel not like 'family:' || family || ':%'
        and not nself.crosses_families() then
        raise insufficient_privilege using message = 'this transaction works for another family than the channel''s';
    end if;
    insert into stream.staged (channel, namespace, is_ephemeral, data, tags, key)
    values (channel, known.name, known.is_ephemeral, data, nullif(options -> 'tags', 'null'), options ->> 'key');
end
$$;

-- One publication, for who wants to know its offset at once and publishes nothing else in the transaction. What a key was used
-- for before keeps its offset.
create function stream.append(
    channel text, data jsonb, info jsonb, tags jsonb, key text, out off bigint, out epoch text
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    known stream.namespaces := stream.namespace_of(channel);
    held stream.channels := stream.hold(channel, known.name);
begin
    epoch := stream.epoch_of(held.epoch);
    if key is not null then
        select k.off into off from stream.keys k
        where k.channel_id = held.id and k.key = append.key and k.until > clock_timestamp();
        if found then
            return;
        end if;
    end if;
    off := held.top + 1;
    update stream.channels c set top = off, used_at = clock_timestamp() where c.id = held.id;
    insert into stream.publications (channel_id, off, data, info, tags) values (held.id, append.off, data, info, tags);
    if key is not null then
        insert into stream.keys (channel_id, key, off, until)
        values (held.id, append.key, append.off, clock_timestamp() + interval '5 minutes')
        on conflict on constraint keys_pkey do update set off = excluded.off, until = excluded.until;
    end if;
    perform stream.wake();
end
$$;

-- Where a channel is, for who begins to read it.
create function stream.locate(channel text, out id bigint, out epoch text, out top bigint)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    known stream.namespaces;
begin
    select c.id, stream.epoch_of(c.epoch), c.top into id, epoch, top from stream.channels c where c.name = channel;
    if found then
        -- A channel that is read is used, but a row is not written for every reader.
        update stream.channels c set used_at = clock_timestamp()
        where c.id = locate.id and c.used_at < clock_timestamp() - interval '1 hour';
        return;
    end if;
    known := stream.namespace_of(channel);
    insert into stream.channels (name, namespace) values (channel, known.name) on conflict do nothing;
    select c.id, stream.epoch_of(c.epoch), c.top into id, epoch, top from stream.channels c where c.name = channel;
end
$$;

-- What came after these positions, at most `step` of each channel, in order. A channel that is gone, or whose next publication
-- is, has one row without an offset.
create function stream.news(ids bigint[], offsets bigint[], step bigint)
    returns table (channel_id bigint, top bigint, off bigint, data text, info text, tags text, created_ms bigint)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select mine.id, c.top, p.off, p.data::text, p.info::text, p.tags::text, (extract(epoch from p.created_at) * 1000)::bigint
    from unnest(ids, offsets) as mine (id, off)
    left join stream.channels c on c.id = mine.id
    left join lateral (
        select n.* from stream.publications n where n.channel_id = mine.id and n.off > mine.off order by n.off limit step
    ) p on c.top > mine.off
    where c.id is null or c.top > mine.off
    order by mine.id, p.off
$$;

-- The history of a channel: what its namespace keeps, after or before a position.
create function stream.history(channel text, since bigint, step bigint, is_reverse boolean)
    returns table (off bigint, data text, info text, tags text, created_ms bigint)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select p.off, p.data::text, p.info::text, p.tags::text, (extract(epoch from p.created_at) * 1000)::bigint
    from stream.channels c
    join stream.namespaces n on n.name = c.namespace
    join stream.publications p on p.channel_id = c.id
    where c.name = channel and p.off > c.top - n.history_size
        and p.created_at > clock_timestamp() - make_interval(secs => n.history_seconds)
        and (since is null or case when is_reverse then p.off < since else p.off > since end)
    order by case when is_reverse then -p.off else p.off end
    limit step
$$;

-- Drops what no namespace keeps, at most `step` rows of each table; how many there were. A publication stays a minute in any
-- case, for readers that are behind. A channel that nobody used for thirty days goes, and one that nothing was
-- ever published to after a day.
create function stream.prune(step bigint) returns bigint
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    with old as (
        select o.channel_id, o.off
        from stream.channels c
        left join stream.namespaces n on n.name = c.namespace
        cross join lateral (
            select p.channel_id, p.off, p.created_at from stream.publications p where p.channel_id = c.id order by p.off limit 1000
        ) o
        where o.created_at < clock_timestamp() - interval '1 minute'
            and (o.off <= c.top - coalesce(n.history_size, 0)
                or o.created_at < clock_timestamp() - make_interval(secs => coalesce(n.history_seconds, 0)))
        limit step
    ), publications as (
        delete from stream.publications p using old o where p.channel_id = o.channel_id and p.off = o.off returning 1
    ), told as (
        delete from stream.told t where t.at < clock_timestamp() - interval '1 minute'
    ), pollers as (
        delete from stream.pollers p where p.until < clock_timestamp() - interval '1 minute'
    ), keys as (
        delete from stream.keys k where (k.channel_id, k.key) in (
            select o.channel_id, o.key from stream.keys o where o.until < clock_timestamp() limit step
        ) returning 1
    ), channels as (
        delete from stream.channels c where c.id in (
            select o.id from stream.channels o
            where o.used_at < clock_timestamp() - case when o.top = 0 then interval '1 day' else interval '30 days' end
                and not exists (select from stream.publications p where p.channel_id = o.id)
            limit step for update skip locked
        ) returning 1
    )
    select (select count(*) from publications) + (select count(*) from keys) + (select count(*) from channels)
$$;

-- Forgets all that a family has published, at once, if there is no such family any more: that somebody says so is no proof.
-- Who still listens is told that there is nothing to go on from.
create function stream.forget_family(family uuid) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    gone bigint[];
begin
    if exists (select from public.families f where f.id = family) then
        return;
    end if;
    -- Whoever is publishing holds the channel, and is waited for.
    select array_agg(c.id) into gone from (
        select c.id from stream.channels c where c.name like 'family:' || family || ':%' order by c.name collate "C" for update
    ) c;
    delete from stream.publications p where p.channel_id = any (gone);
    delete from stream.keys k where k.channel_id = any (gone);
    delete from stream.channels c where c.id = any (gone);
end
$$;
