-- Events by the hundred. Who calls, and what it may emit, is asked once for all events of a call and not once for each: the plugins
-- that write many runs by one statement pay for their rows and for little else.

-- Who calls, as before. What a login of fewer than 63 bytes stands for is told by its name alone, and needs no look at the plugins.
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
    IF octet_length(session_user) >= 63 THEN
        SELECT p.id INTO plugin FROM nself.plugins p WHERE nself.login_name(p.id) = session_user;
        IF plugin IS NOT NULL THEN
            RETURN '/plugins/' || plugin;
        END IF;
    END IF;
    IF starts_with(session_user::text, current_database() || '_') THEN
        RETURN '/plugins/' || substr(session_user::text, length(current_database()) + 2);
    END IF;
    RETURN '/roles/' || session_user;
END
$$;

-- Writes events in the caller's transaction, in their order, as nself.emit_event does with one. The lists are of one length.
CREATE FUNCTION nself.emit_events(types text[], subjects text[], data jsonb[], families uuid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- A list of another length would be reason enough to plan anew, which takes longer than to write it.
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    source text := nself.caller();
    plugin text := substring(source FROM '^/plugins/(.*)$');
    emitted text[] := ARRAY(SELECT DISTINCT t FROM unnest(types) AS t);
    refused text;
BEGIN
    IF plugin IS NOT NULL THEN
        SELECT t INTO refused FROM unnest(emitted) AS t
        WHERE NOT EXISTS (
            SELECT FROM nself.plugins p, jsonb_array_elements_text(p.granted -> 'emits') AS granted (pattern)
            WHERE p.id = plugin AND t LIKE nself.like_pattern(granted.pattern)
        )
        LIMIT 1;
        IF FOUND THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('plugin "%s" may not emit "%s"', plugin, refused),
                HINT = 'add the type to `emits` in the plugin''s manifest, and accept it when the plugin is enabled';
        END IF;
    END IF;

    INSERT INTO nself.events (type, source, subject, family_id, data, trace_parent)
    SELECT e.type, source, e.subject, e.family_id, e.data, nullif(current_setting('nself.trace_parent', true), '')
    FROM unnest(types, subjects, data, families) WITH ORDINALITY AS e (type, subject, data, family_id, number)
    ORDER BY e.number;

    -- After the insert, as in nself.emit_event.
    PERFORM pg_notify('nself_events', w.subscriber)
    FROM nself.event_waiters w
    WHERE w.until > clock_timestamp() AND EXISTS (SELECT FROM unnest(emitted) AS t WHERE t LIKE ANY (w.patterns));
END
$$;

REVOKE ALL ON FUNCTION nself.emit_events(text[], text[], jsonb[], uuid[]) FROM PUBLIC;
