-- Whether a role sees such content, as db/policy.toml says for media (and for a machine, of what is streamed), for SQL that has to
-- know it: a media session is admitted, a change is told. A test generates the function from the policy and finds it here; when the
-- policy changes, the next step replaces it. `member_id` is who looks, null for whoever it may be.
CREATE OR REPLACE FUNCTION nself.sees_content(
    role text, visibility text, author_id uuid, child_approved_at timestamptz, member_id uuid
) RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(CASE role
        WHEN 'OWNER' THEN ((((visibility IN ('family', 'public')) OR (author_id = member_id))) OR (visibility = 'adults_only'))
        WHEN 'ADMIN' THEN ((((visibility IN ('family', 'public')) OR (author_id = member_id))) OR (visibility = 'adults_only'))
        WHEN 'ADULT_MEMBER' THEN ((((visibility IN ('family', 'public')) OR (author_id = member_id))) OR (visibility = 'adults_only'))
        WHEN 'YOUTH_MEMBER' THEN ((visibility IN ('family', 'public')) OR (author_id = member_id))
        WHEN 'CHILD_MEMBER' THEN child_approved_at IS NOT NULL AND visibility IN ('family', 'public')
        WHEN 'DEVICE' THEN visibility IN ('family', 'public')
    END, false)
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
