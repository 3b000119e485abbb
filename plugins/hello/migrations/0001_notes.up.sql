-- Notes of a family. The id is a UUIDv7, so the primary key is also the feed's order.
create table hello.notes (
    id uuid primary key default nself.uuid_v7(),
    family_id uuid not null,
    created_by uuid,
    title text not null constraint notes_title_length check (char_length(title) between 1 and 200),
    body text not null default '' constraint notes_body_length check (char_length(body) <= 20000),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    removed_at timestamptz
);

create index notes_family_feed on hello.notes (family_id, id desc) where removed_at is null;
create index notes_removed on hello.notes (removed_at) where removed_at is not null;

-- The database enforces the tenant: a handler's transaction carries its principal's family (`begin_as`), and without one
-- no row is visible. The plugin's role does not own the table, so the policy binds it.
alter table hello.notes enable row level security;

create policy notes_of_the_family on hello.notes
    using (family_id = (select nself.current_family_id()))
    with check (family_id = (select nself.current_family_id()));

-- The sweep works on all families, so it runs with the rights of the table's owner, and can do only this.
create function hello.forget_removed(days bigint, step bigint) returns bigint
    language sql volatile security definer set search_path = hello, pg_temp
as $$
    with gone as (
        delete from hello.notes where id in (
            select id from hello.notes where removed_at < now() - make_interval(days => days::int)
            order by removed_at limit step for update skip locked
        ) returning 1
    ) select count(*) from gone
$$;
