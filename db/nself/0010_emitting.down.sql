DROP FUNCTION nself.emit_events(text[], text[], jsonb[], uuid[]);

CREATE OR REPLACE FUNCTION nself.caller() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plugin text;
BEGIN
    IF session_user = (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'nself') THEN
        RETURN '/nself';
    END IF;
    SELECT p.id INTO plugin FROM nself.plugins p WHERE nself.login_name(p.id) = session_user;
    IF plugin IS NOT NULL THEN
        RETURN '/plugins/' || plugin;
    ELSIF starts_with(session_user::text, current_database() || '_') THEN
        RETURN '/plugins/' || substr(session_user::text, length(current_database()) + 2);
    END IF;
    RETURN '/roles/' || session_user;
END
$$;
