-- Changes of tables, published to those who may read the row. Two have to want it: the plugin's configuration lists the table, and
-- whoever owns the table has let its changes be published, in a migration or by hand.
--
-- A channel tells all who are let into it the same. So the family's channel hears of rows that everybody in it may read, and of no
-- others; whoever else may read a row hears of it on a channel of their own, `family:<id>:me:<user>`. Each channel tells a whole story: what
-- comes into sight there is an insert, and what goes out of it a delete, whatever was done to the row.

-- What the plugin's configuration says about tables. Written when a host starts.
create table stream.tables (
    name text primary key,
    namespace text not null,
    -- Columns that may be told.
    columns text[] not null,
    -- Who is let into the channel.
    roles text[] not null,
    -- By what it is said who may read a row; by its columns where it is null.
    audience text,
    constraint tables_audience_check check (audience in ('content', 'conversation', 'author', 'family'))
);

-- The tables of the list, `[{"name": .., "namespace": .., "columns": [..], "roles": [..]}]`, and no others.
create function stream.write_tables(list jsonb) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    delete from stream.tables t where t.name not in (select e ->> 'name' from jsonb_array_elements(list) e);
    insert into stream.tables as t select r.* from jsonb_populate_recordset(null::stream.tables, list) r
    on conflict (name) do update set namespace = excluded.namespace, columns = excluded.columns, roles = excluded.roles,
        audience = excluded.audience;
$$;

-- Whether everybody of these roles may read a row, whoever they are, by the policy's word for content. What is private, what is
-- deleted, and a row that does not say whom it is for, is not for everybody of any role. Machines are shown what is streamed, and
-- not what is told of tables.
create function stream.is_for_all(seen jsonb, roles text[]) returns boolean
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select seen ->> 'deleted_at' is null and coalesce(bool_and(r.role <> 'DEVICE' and nself.sees_content(
        r.role, seen ->> 'visibility', null, case when seen ->> 'child_approved_at' is not null then timestamptz 'epoch' end, null
    )), false)
    from unnest(roles) r (role)
$$;

-- What stands there, if it is an id. Columns of the same name may be something else in another table.
create function stream.as_id(text text) returns uuid
    language sql immutable
    set search_path = pg_catalog, pg_temp
as $$
    select case when text ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then text::uuid end
$$;

-- By what it is said who may read this row; null where nothing says it.
create function stream.audience_of(listed stream.tables, seen jsonb) returns text
    language sql immutable
    set search_path = pg_catalog, pg_temp
as $$
    select coalesce(listed.audience, case
        when seen ? 'visibility' then 'content'
        when seen ? 'conversation_id' or listed.name = 'public.conversations' then 'conversation'
    end)
$$;

-- Whether everybody in the table's channel may know of a row.
create function stream.is_for_channel(listed stream.tables, seen jsonb) returns boolean
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select seen is not null and case stream.audience_of(listed, seen)
        when 'content' then stream.is_for_all(seen, listed.roles)
        when 'family' then true
        else false
    end
$$;

-- The people of the row's family who may read it one by one, as db/policy.toml says: content by its visibility and a post also by its
-- audience; what is said in a conversation by who is in it; what is somebody's own by whose it is. They are read when the
-- transaction ends, so what it says about them counts.
create function stream.readers(listed stream.tables, seen jsonb) returns table (user_id uuid, role text)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select m.user_id, m.role
    from public.family_members m
    join public.families f on f.id = m.family_id and f.deleted_at is null
    where m.family_id = stream.as_id(seen ->> 'family_id') and m.status = 'active' and m.user_id is not null
        and case stream.audience_of(listed, seen)
            when 'content' then
                nself.sees_content(
                    m.role, seen ->> 'visibility', stream.as_id(seen ->> 'author_id'),
                    case when seen ->> 'child_approved_at' is not null then timestamptz 'epoch' end, m.id
                ) or listed.name = 'public.posts' and m.role in ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER') and exists (
                    select from public.post_audiences a
                    where a.family_id = m.family_id and a.post_id = stream.as_id(seen ->> 'id') and a.member_id = m.id
                )
            when 'conversation' then
                m.role in ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER') and (exists (
                    select from public.conversation_members c
                    where c.family_id = m.family_id and c.member_id = m.id and c.left_at is null
                        and c.conversation_id = stream.as_id(coalesce(seen ->> 'conversation_id', seen ->> 'id'))
                ) or listed.name = 'public.conversations' and m.id = stream.as_id(seen ->> 'created_by'))
            when 'author' then
                m.role = any (listed.roles)
                and m.id = stream.as_id(coalesce(seen ->> 'member_id', seen ->> 'author_id', seen ->> 'created_by'))
            else false
        end
$$;

-- Publishes in one channel that a row has changed, and how where it is still in sight. Of what is said for a whole family nothing is.
create function stream.tell_change(listed stream.tables, channel text, op text, seen jsonb) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    known stream.namespaces := stream.namespace_of(channel);
    plain jsonb := jsonb_build_object('op', op, 'table', listed.name, 'id', seen -> 'id');
    told jsonb := plain;
begin
    if op <> 'delete' and cardinality(listed.columns) > 0 and stream.audience_of(listed, seen) <> 'family' then
        told := plain || jsonb_build_object('row', (
            select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(seen) e where e.key = any (listed.columns)
        ));
        -- Nobody's write fails because it is too long to be told.
        if octet_length(told::text) > least(known.bytes_max, case when known.is_ephemeral then 7000 else known.bytes_max end) then
            told := plain;
        end if;
    end if;
    perform stream.publish(channel, told);
end
$$;

-- Tells of a row as it was and as it is, of which one may be missing, in the family's channel and in those of single people who may read
-- it and are not told there.
create function stream.tell_row(listed stream.tables, before jsonb, after jsonb) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    seen jsonb := coalesce(after, before);
    was_all boolean := stream.is_for_channel(listed, before);
    is_all boolean := stream.is_for_channel(listed, after);
    one record;
begin
    if seen ->> 'family_id' is null then
        return;
    end if;
    -- Without its namespace the channel would be one of another kind, with other people in it.
    if (was_all or is_all) and exists (select from stream.namespaces n where n.name = listed.namespace) then
        perform stream.tell_change(
            listed, format('family:%s:%s:%s', seen ->> 'family_id', listed.namespace, split_part(listed.name, '.', 2)),
            case when not is_all then 'delete' when was_all then 'update' else 'insert' end, seen
        );
    end if;
    if not exists (select from stream.namespaces n where n.name = 'me') then
        return;
    end if;
    for one in
        select r.user_id, bool_or(r.is_before) as was, bool_or(not r.is_before) as is_now
        from (
            select b.user_id, true as is_before from stream.readers(listed, before) b
            where before is not null and not (was_all and b.role = any (listed.roles))
            union all
            select a.user_id, false from stream.readers(listed, after) a
            where after is not null and not (is_all and a.role = any (listed.roles))
        ) r
        group by r.user_id order by r.user_id
    loop
        perform stream.tell_change(
            listed, format('family:%s:me:%s', seen ->> 'family_id', one.user_id),
            case when not one.is_now then 'delete' when one.was then 'update' else 'insert' end, seen
        );
    end loop;
end
$$;

-- The trigger. By the owner's rights: whoever may write the row need not be one who may publish.
create function stream.row_changed() returns trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    listed stream.tables;
    before jsonb;
    after jsonb;
begin
    select t.* into listed from stream.tables t where t.name = tg_table_schema || '.' || tg_table_name;
    if not found then
        return null;
    end if;
    if tg_op <> 'INSERT' then
        before := to_jsonb(old);
    end if;
    if tg_op <> 'DELETE' then
        after := to_jsonb(new);
    end if;
    if before = after then
        return null;
    end if;
    -- Gone for who reads, whatever is left of it. A row that was deleted in the sense of the product and taken back is new.
    if before ->> 'deleted_at' is not null then
        before := null;
    end if;
    if after ->> 'deleted_at' is not null then
        after := null;
    end if;
    if before -> 'family_id' <> after -> 'family_id' or before -> 'id' <> after -> 'id' then
        perform stream.tell_row(listed, before, null);
        before := null;
    end if;
    if before is not null or after is not null then
        perform stream.tell_row(listed, before, after);
    end if;
    return null;
end
$$;

-- Lets changes of a table be published, in the caller's transaction and by the caller's rights: only who owns the table may.
-- Said twice, it is one. Its rows need an `id` and a `family_id`.
create function stream.publish_changes(listed regclass) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    missing text;
begin
    select c into missing from unnest(array['id', 'family_id']) c
    where not exists (
        select from pg_attribute a
        where a.attrelid = listed and a.attname = c and a.atttypid = 'uuid'::regtype and not a.attisdropped
    ) limit 1;
    if missing is not null then
        perform stream.refuse('table', 'one with a column ' || missing || ' of type uuid', listed::text);
    end if;
    -- It stands in a channel's name, where nothing else may stand.
    if exists (select from pg_class c where c.oid = listed and (c.relname !~ '^[A-Za-z0-9_]+$' or c.relkind not in ('r', 'p'))) then
        perform stream.refuse('table', 'a table whose name has letters, digits and _', listed::text);
    end if;
    -- At the end of the transaction, when it has also said who the row is for.
    perform stream.stop_publishing_changes(listed);
    execute format('create constraint trigger stream_row_changed after insert or update or delete on %s '
        'deferrable initially deferred for each row execute function stream.row_changed()', listed);
end
$$;

-- Takes it back.
create function stream.stop_publishing_changes(listed regclass) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('drop trigger if exists stream_row_changed on %s', listed);
end
$$;
