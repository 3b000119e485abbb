-- Who is there. A host keeps its lease alive; when it dies, everybody who was there by it is gone with the lease, and nobody
-- else has to find out who that was. None of it is worth the write-ahead log: after a crash of the server all come anew.
create unlogged table stream.nodes (
    id uuid primary key,
    -- Connections, when it was last seen.
    clients bigint not null default 0,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
) with (fillfactor = 50);

create unlogged table stream.presence (
    channel text not null,
    client uuid not null,
    node uuid not null,
    user_id text not null,
    joined_at timestamptz not null default now(),
    constraint presence_pkey primary key (channel, client)
);

create index presence_node on stream.presence (node);

-- Who is there in a channel.
create function stream.present(channel text) returns table (client uuid, user_id text)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select p.client, p.user_id from stream.presence p join stream.nodes n on n.id = p.node
    where p.channel = present.channel and n.seen_at > clock_timestamp() - interval '10 seconds'
    order by p.joined_at
$$;

-- Somebody has come, by this host.
create function stream.enter(channel text, client uuid, node uuid, user_id text) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    insert into stream.nodes as n (id) values (node) on conflict (id) do update set seen_at = clock_timestamp()
        where n.seen_at < clock_timestamp() - interval '3 seconds';
    insert into stream.presence (channel, client, node, user_id) values (channel, client, node, user_id)
    on conflict (channel, client) do update set node = excluded.node, user_id = excluded.user_id;
$$;

-- The host is alive, and these are all of its clients that are there: others of it have gone without a word. Hosts that have
-- been dead for long are forgotten, with theirs.
create function stream.keep_node(node uuid, clients uuid[]) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    insert into stream.nodes as n (id, clients) values (node, cardinality(keep_node.clients))
    on conflict (id) do update set clients = excluded.clients, seen_at = clock_timestamp();
    -- Who came a moment ago may not be among them yet.
    delete from stream.presence p
    where p.node = keep_node.node and p.client <> all (keep_node.clients) and p.joined_at < clock_timestamp() - interval '10 seconds';
    delete from stream.presence p using stream.nodes n
    where p.node = n.id and n.seen_at < clock_timestamp() - interval '1 minute';
    delete from stream.nodes n where n.seen_at < clock_timestamp() - interval '1 minute';
$$;

-- What hosts answer when one of them asks all: an answer is read within seconds.
create unlogged table stream.surveys (
    id uuid not null,
    node uuid not null,
    channels jsonb not null,
    asked_at timestamptz not null default clock_timestamp(),
    constraint surveys_pkey primary key (id, node)
);
