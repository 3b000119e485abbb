-- Families apart, by row-level security: what the session's family is not, a query does not see and cannot write, also
-- a wrong one. The tables' owner is not held back (migrations, the host's own commands, Hasura's login): those who are
-- it enforce by their own permissions.

-- Whether the caller's login is a plugin's that the operator let work across families: signing people in, sweeping.
-- `session_user` is who connected; neither SET ROLE nor a SECURITY DEFINER function changes it. In plpgsql, which keeps
-- its plan for the session: as a function in SQL it would be planned in every query, for longer than many of them run.
CREATE FUNCTION nself.crosses_families() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM nself.plugins p
        WHERE p.granted ->> 'families' = 'all' AND nself.login_name(p.id) = session_user
    );
END
$$;

-- Holds the rows of a table apart by its column `family_id`. The functions stand in sub-selects so that each is asked
-- once per query and not once per row, and the second one only when a row is not the family's own.
CREATE FUNCTION nself.isolate(relation regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule CONSTANT text :=
        'family_id = (SELECT nself.current_family_id()) OR (SELECT nself.crosses_families())';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    EXECUTE format(
        'CREATE POLICY family_isolation ON %s FOR ALL TO PUBLIC USING (%s) WITH CHECK (%s)', relation, rule, rule
    );
END
$$;

REVOKE ALL ON FUNCTION nself.crosses_families(), nself.isolate(regclass) FROM PUBLIC;
