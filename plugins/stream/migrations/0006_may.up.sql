-- Who may read is asked of the policy, and not said here a second time.
-- The people of the row's family who may read it one by one, as db/policy.toml says: content by its visibility and a post also by its
-- audience; what is said in a conversation by who is in it; what is somebody's own by whose it is. They are read when the
-- transaction ends, so what it says about them counts.
create or replace function stream.readers(listed stream.tables, seen jsonb) returns table (user_id uuid, role text)
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
                ) or listed.name = 'public.posts' and nself.may(m.role, 'content.view') and exists (
                    select from public.post_audiences a
                    where a.family_id = m.family_id and a.post_id = stream.as_id(seen ->> 'id') and a.member_id = m.id
                )
            when 'conversation' then
                nself.may(m.role, 'conversation.view') and (exists (
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
