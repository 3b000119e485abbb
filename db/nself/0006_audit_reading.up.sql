-- What a plugin wrote into the audit log, it may read back: to show people and operators what happened to an account.
-- What others wrote it may not, so a plugin without scruples learns nothing of the rest of the house.

-- Before the first release there is no log that is long enough to hold up its writers while these are built.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_log_actor_idx ON nself.audit_log (actor, at);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_log_target_idx ON nself.audit_log (target, at) WHERE target IS NOT NULL;

-- The caller's own entries, the newest first. `only_person` is an actor or a target; `only_action` may end in `*`;
-- `before_at` and `before_id` are those of the last entry of the page before.
CREATE FUNCTION nself.read_audit(
    only_person text DEFAULT NULL,
    only_action text DEFAULT NULL,
    only_family uuid DEFAULT NULL,
    before_at timestamptz DEFAULT NULL,
    before_id uuid DEFAULT NULL,
    entries integer DEFAULT 100
)
    RETURNS TABLE (
        id uuid, at timestamptz, actor text, action text, target text, details jsonb, family_id uuid
    )
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Written for what is asked, so that each question is planned with the index that fits it.
    RETURN QUERY EXECUTE
        'SELECT a.id, a.at, a.actor, a.action, a.target, a.details, a.family_id FROM nself.audit_log a WHERE a.source = $1'
        || CASE WHEN only_person IS NULL THEN '' ELSE ' AND (a.actor = $2 OR a.target = $2)' END
        || CASE WHEN only_action IS NULL THEN '' ELSE ' AND a.action LIKE $3' END
        || CASE WHEN only_family IS NULL THEN '' ELSE ' AND a.stream = $4::text' END
        || CASE WHEN before_at IS NULL THEN '' ELSE ' AND (a.at, a.id) < ($5, $6)' END
        || ' ORDER BY a.at DESC, a.id DESC LIMIT $7'
    USING
        nself.caller(), only_person, replace(replace(only_action, '_', '\_'), '*', '%'), only_family,
        before_at, before_id, least(greatest(entries, 1), 10000);
END
$$;

REVOKE ALL ON FUNCTION nself.read_audit(text, text, uuid, timestamptz, uuid, integer) FROM PUBLIC;
