-- Who opened a door for a child, and when, must be told later: each change of a family's settings, switches, limits for its
-- children and quotas is an entry of the family's audit log, with what it was and what it became. By triggers, so that it
-- holds for every way in: a plugin, Hasura, a shell.

-- The first argument is the deed, the second the column that names its target. What came with the family is no change, and
-- nothing is written for a family that is being purged: its log ends with that.
CREATE FUNCTION public.audit_setting() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    untold CONSTANT text[] := ARRAY['family_id', 'created_at', 'updated_at', TG_ARGV[1]];
    before CONSTANT jsonb := to_jsonb(OLD) - untold;
    after CONSTANT jsonb := to_jsonb(NEW) - untold;
    row_is CONSTANT jsonb := coalesce(to_jsonb(NEW), to_jsonb(OLD));
    family CONSTANT uuid := row_is ->> 'family_id';
    -- Hasura says in whose name it writes; a plugin is taken at the host's word alone.
    by_hasura CONSTANT jsonb := CASE
        WHEN nself.caller() NOT LIKE '/plugins/%' THEN nullif(current_setting('hasura.user', true), '')
    END;
    was jsonb;
    became jsonb;
BEGIN
    SELECT jsonb_object_agg(k.key, before -> k.key), jsonb_object_agg(k.key, after -> k.key) INTO was, became
    FROM jsonb_object_keys(coalesce(after, before)) AS k (key)
    WHERE before -> k.key IS DISTINCT FROM after -> k.key;
    IF became IS NULL OR NOT EXISTS (SELECT FROM public.families f WHERE f.id = family) THEN
        RETURN NULL;
    END IF;
    PERFORM nself.audit(
        TG_ARGV[0], row_is ->> TG_ARGV[1],
        jsonb_build_object(
            'from', CASE WHEN before IS NOT NULL THEN was END, 'to', CASE WHEN after IS NOT NULL THEN became END
        ),
        family, coalesce(nself.current_user_id()::text, by_hasura ->> 'x-hasura-user-id')
    );
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.audit_setting() FROM PUBLIC;

CREATE TRIGGER family_settings_audit AFTER UPDATE ON public.family_settings
    FOR EACH ROW EXECUTE FUNCTION public.audit_setting('family.settings_changed', 'family_id');
CREATE TRIGGER family_flags_audit AFTER INSERT OR UPDATE OR DELETE ON public.family_flags
    FOR EACH ROW EXECUTE FUNCTION public.audit_setting('family.flag_changed', 'flag');
CREATE TRIGGER parental_controls_audit AFTER INSERT OR UPDATE OR DELETE ON public.parental_controls
    FOR EACH ROW EXECUTE FUNCTION public.audit_setting('family.parental_controls_changed', 'member_id');
CREATE TRIGGER family_quotas_audit AFTER UPDATE ON public.family_quotas
    FOR EACH ROW EXECUTE FUNCTION public.audit_setting('family.quotas_changed', 'family_id');
