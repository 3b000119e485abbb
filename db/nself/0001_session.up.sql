-- Ids, and the facts of a session that row-level security and the logs stand on.
--
-- Bodies are in the SQL-standard form where they can be: names are bound when the function is made, so no search_path
-- of a caller can slip another function or operator under them. The others pin the path.

-- A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits. Core Postgres has one only from 18 on.
-- It starts from a v4 value and turns the version nibble 0100 into 0111 (bits 52 and 53).
CREATE FUNCTION nself.uuid_v7() RETURNS uuid
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid;

-- The tenant facts that the host sets for a transaction with set_config('nself.family_id', .., true); null when unset.
CREATE FUNCTION nself.current_family_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('nself.family_id', true), '')::uuid;

CREATE FUNCTION nself.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('nself.user_id', true), '')::uuid;

CREATE FUNCTION nself.current_role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('nself.role', true), '');

-- The login of a plugin in this database, as the host names it (`login_name` in host/src/postgres/roles.rs): the database's
-- name and the plugin's id; what is too long for Postgres ends in a hash.
CREATE FUNCTION nself.login_name(plugin text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := current_database() || '_' || plugin;
    hash text := '_' || left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 16);
BEGIN
    IF octet_length(name) <= 63 THEN
        RETURN name;
    END IF;
    WHILE octet_length(name) > 63 - length(hash) LOOP
        name := left(name, -1);
    END LOOP;
    RETURN name || hash;
END
$$;

-- Who calls, as a CloudEvents source: /plugins/<id>, /nself for the host, /roles/<login> for everybody else. A login that
-- looks like a plugin's and is none that is known is a plugin without rights, and not somebody else.
CREATE FUNCTION nself.caller() RETURNS text
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

-- `family.*` as a LIKE pattern; everything but `*` stands for itself.
CREATE FUNCTION nself.like_pattern(pattern text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%');

-- Deny by default: the host grants plugins the functions they may call, one by one.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
