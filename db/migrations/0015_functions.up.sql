-- What GraphQL offers beside columns and relationships. Stable, by the rights of who calls, and without a search path of their
-- own: so Postgres puts them into the query that asks, and narrows what they read by its conditions. What a role sees of the
-- rows is said by the policy of their table (db/policy.toml), never here.

-- The session's family is asked for here as well, so that the index is searched for one family and not for all.
CREATE FUNCTION public.search(words text, hasura_session json) RETURNS SETOF public.search_index
    LANGUAGE sql STABLE
AS $$
    SELECT s.*
    FROM public.search_index s
    WHERE s.family_id = (hasura_session ->> 'x-hasura-family-id')::uuid
        AND s.document @@ pg_catalog.websearch_to_tsquery('simple', words)
    ORDER BY pg_catalog.ts_rank(s.document, pg_catalog.websearch_to_tsquery('simple', words)) DESC, s.created_at DESC
$$;

REVOKE ALL ON FUNCTION public.search(text, json) FROM PUBLIC;

COMMENT ON FUNCTION public.search(text, json) IS
    'What the family has that holds these words, the best match first; "or", quotes and - work as in a web search';

-- A member need not be asked for together with the person; who has deleted the account has no name any more.
CREATE FUNCTION public.family_members_display_name(member public.family_members) RETURNS text
    LANGUAGE sql STABLE
AS $$
    SELECT u.display_name FROM public.users u WHERE u.id = member.user_id AND u.deleted_at IS NULL
$$;

REVOKE ALL ON FUNCTION public.family_members_display_name(public.family_members) FROM PUBLIC;

COMMENT ON FUNCTION public.family_members_display_name(public.family_members) IS 'What others call the member';

-- Reactions are as visible as their post, so their number tells nobody more than they may see.
CREATE FUNCTION public.posts_reaction_count(post public.posts) RETURNS bigint
    LANGUAGE sql STABLE
AS $$
    SELECT count(*) FROM public.post_reactions r WHERE r.family_id = post.family_id AND r.post_id = post.id
$$;

REVOKE ALL ON FUNCTION public.posts_reaction_count(public.posts) FROM PUBLIC;

COMMENT ON FUNCTION public.posts_reaction_count(public.posts) IS 'How many reactions the post has';
