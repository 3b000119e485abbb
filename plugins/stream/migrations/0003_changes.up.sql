-- Changes of tables, published to the family that the row belongs to. Two have to want it: the plugin's configuration lists the
-- table, and whoever owns the table has let its changes be published, in a migration or by hand.
--
-- A channel tells all who are let into it the same, and who may read a row is not the same for all: so what is told is that a
-- row changed, and which; who wants to know how asks where the rules of the table hold. What the row says is told beside it
-- only where everybody in the channel may read it anyway.

-- What the plugin's configuration says about tables. Written when a host starts.
create table stream.tables (
    name text primary key,
    namespace text not null,
    -- Columns that may be told.
    columns text[] not null,
    -- Who is let into the channel.
    roles text[] not null
);

-- The tables of the list, `[{"name": .., "namespace": .., "columns": [..], "roles": [..]}]`, and no others.
create function stream.write_tables(list jsonb) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    delete from stream.tables t where t.name not in (select e ->> 'name' from jsonb_array_elements(list) e);
    insert into stream.tables as t select r.* from jsonb_populate_recordset(null::stream.tables, list) r
    on conflict (name) do update set namespace = excluded.namespace, columns = excluded.columns, roles = excluded.roles;
$$;

-- Whether everybody of these roles may read a row, whoever they are, by the policy's word for content. What is private, what is
-- deleted, and a row that does not say whom it is for, is not for everybody of any role. Machines are shown what is streamed, and
-- not what is told of tables.
create function stream.is_for_all(seen jsonb, roles text[]) returns boolean
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    select seen ->> 'deleted_at' is null and coalesce(bool_and(r.role <> 'DEVICE' and nself.sees_content(
        r.role, seen ->> 'visibility', null, (seen ->> 'child_approved_at')::timestamptz, null
    )), false)
    from unnest(roles) r (role)
$$;

-- Publishes that a row has changed, and where everybody may read it, how. A row that was deleted in the sense of the product
-- (`deleted_at`) is gone, and one that was taken back is new.
create function stream.tell_change(listed stream.tables, op text, seen jsonb) returns void
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    known stream.namespaces;
    plain jsonb := jsonb_build_object('op', op, 'table', listed.name, 'id', seen -> 'id');
    told jsonb := plain;
begin
    if seen ->> 'family_id' is null then
        return;
    end if;
    select n.* into known from stream.namespaces n where n.name = listed.namespace;
    -- Without its namespace the channel would be one of another kind, with other people in it.
    if not found then
        return;
    end if;
    if op <> 'delete' and cardinality(listed.columns) > 0 and stream.is_for_all(seen, listed.roles) then
        told := plain || jsonb_build_object('row', (
            select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(seen) e where e.key = any (listed.columns)
        ));
        -- Nobody's write fails because it is too long to be told.
        if octet_length(told::text) > least(known.bytes_max, case when known.is_ephemeral then 7000 else known.bytes_max end) then
            told := plain;
        end if;
    end if;
    perform stream.publish(
        format('family:%s:%s:%s', seen ->> 'family_id', listed.namespace, split_part(listed.name, '.', 2)), told
    );
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
    -- Gone for who reads, whatever is left of it.
    if before ->> 'deleted_at' is not null then
        before := null;
    end if;
    if after ->> 'deleted_at' is not null then
        after := null;
    end if;
    if before is not null and (after is null or before -> 'family_id' <> after -> 'family_id' or before -> 'id' <> after -> 'id') then
        perform stream.tell_change(listed, 'delete', before);
        before := null;
    end if;
    if after is not null then
        perform stream.tell_change(listed, case when before is null then 'insert' else 'update' end, after);
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
    execute format('create or replace trigger stream_row_changed after insert or update or delete on %s '
        'for each row execute function stream.row_changed()', listed);
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
