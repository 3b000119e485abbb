-- What happens to a family as a whole: it is made, people come and go, it is handed over, exported, deleted. Each
-- function is one transaction's work with its entry in the audit log and its event. They run with the caller's rights:
-- who has none on the tables can do nothing with them. Who may ask for which is the policy's matter, and is settled
-- before; what must hold for every writer is in the triggers.

CREATE TABLE public.family_exports (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    -- Null for an operator, who is in the audit log.
    exported_by uuid,
    rows bigint NOT NULL,
    exported_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT family_exports_pkey PRIMARY KEY (id),
    CONSTRAINT family_exports_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT family_exports_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT family_exports_rows_check CHECK (rows >= 0)
);

COMMENT ON TABLE public.family_exports IS 'An export of everything that a family has; the rows went to who asked';

CREATE INDEX family_exports_recent_idx ON public.family_exports (family_id, exported_at DESC);

SELECT nself.isolate('public.family_exports');

-- A membership's life. A child's account stays a child's or a youth's, whatever the writer thinks.
CREATE FUNCTION public.check_membership() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.role NOT IN ('CHILD_MEMBER', 'YOUTH_MEMBER')
        AND EXISTS (SELECT FROM public.users u WHERE u.id = NEW.user_id AND u.kind = 'child')
    THEN
        RAISE check_violation USING
            MESSAGE = format('a child''s account cannot be %s', NEW.role),
            CONSTRAINT = 'family_members_child_account_check',
            HINT = 'it can be CHILD_MEMBER or YOUTH_MEMBER';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
        ('pending_invite', 'active'), ('pending_invite', 'inactive'),
        ('active', 'suspended'), ('suspended', 'active'),
        ('active', 'inactive'), ('suspended', 'inactive'),
        ('inactive', 'active'), ('inactive', 'pending_invite')
    ) THEN
        RAISE check_violation USING
            MESSAGE = format('a membership does not go from %s to %s', OLD.status, NEW.status),
            CONSTRAINT = 'family_members_life_check';
    END IF;
    IF NEW.status = 'active' AND (TG_OP = 'INSERT' OR OLD.status <> 'active')
        AND EXISTS (SELECT FROM public.families f WHERE f.id = NEW.family_id AND f.deleted_at IS NOT NULL)
    THEN
        RAISE check_violation USING
            MESSAGE = 'the family is deleted',
            CONSTRAINT = 'family_members_family_deleted_check';
    END IF;
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION public.check_membership() FROM PUBLIC;

CREATE TRIGGER family_members_life BEFORE INSERT OR UPDATE OF role, status, user_id ON public.family_members
    FOR EACH ROW EXECUTE FUNCTION public.check_membership();

-- Lets nobody else change the family until the transaction ends. Those who only refer to its row do not wait.
CREATE FUNCTION public.lock_family(family uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM public.families f WHERE f.id = family AND f.deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('no family %s', family);
    END IF;
END
$$;

-- An entry in the family's audit log, and an event for those who listen. The actor is a person's id, or who else the log
-- is to name: an operator, a task.
CREATE FUNCTION public.announce_deed(deed text, family uuid, target uuid, details jsonb, actor text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM nself.audit(deed, target::text, details, family, actor);
    PERFORM nself.emit_event(deed, target::text, details, family);
END
$$;

CREATE FUNCTION public.announce_deed(deed text, family uuid, target uuid, details jsonb, actor uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM public.announce_deed(deed, family, target, details, actor::text);
END
$$;

-- A new family, owned by who makes it; its id.
CREATE FUNCTION public.create_family(family_name text, owner uuid) RETURNS uuid
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Chosen here: who may insert a row need not be one who may see it before it is a member.
    family uuid := nself.uuid_v7();
BEGIN
    INSERT INTO public.families (id, name, created_by) VALUES (family, family_name, owner);
    INSERT INTO public.family_members (family_id, user_id, role) VALUES (family, owner, 'OWNER');
    PERFORM public.announce_deed(
        'family.created', family, family, jsonb_build_object('family_id', family, 'owner_id', owner), owner
    );
    RETURN family;
END
$$;

-- Makes a person a member, again in the same row who was one before; the membership's id. `more` is added to what the
-- log and the event say.
CREATE FUNCTION public.add_member(
    family uuid, person uuid, new_role text, inviter uuid, actor uuid, more jsonb DEFAULT '{}'
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    member uuid;
BEGIN
    PERFORM public.lock_family(family);
    INSERT INTO public.family_members AS m (family_id, user_id, role, invited_by)
    VALUES (family, person, new_role, inviter)
    ON CONFLICT (family_id, user_id) DO UPDATE SET
        role = excluded.role, invited_by = coalesce(excluded.invited_by, m.invited_by),
        status = 'active', left_at = NULL
    WHERE m.status IN ('inactive', 'pending_invite')
    RETURNING m.id INTO member;
    IF member IS NULL THEN
        RAISE unique_violation USING
            MESSAGE = format('%s is in the family already', person),
            CONSTRAINT = 'family_members_family_id_user_id_key';
    END IF;
    PERFORM public.announce_deed(
        'family.member_added', family, member,
        jsonb_build_object('member_id', member, 'user_id', person, 'role', new_role) || more, actor
    );
    RETURN member;
END
$$;

-- Asks somebody in who has an account; the membership's id. Invitations by mail and link are the auth plugin's.
CREATE FUNCTION public.invite_member(family uuid, person uuid, new_role text, inviter uuid) RETURNS uuid
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    member uuid;
BEGIN
    PERFORM public.lock_family(family);
    IF new_role = 'OWNER' THEN
        RAISE check_violation USING
            MESSAGE = 'nobody is invited as OWNER',
            CONSTRAINT = 'family_members_invited_role_check',
            HINT = 'a family is handed over to one of its members';
    END IF;
    INSERT INTO public.family_members AS m (family_id, user_id, role, status, invited_by)
    VALUES (family, person, new_role, 'pending_invite', inviter)
    ON CONFLICT (family_id, user_id) DO UPDATE SET
        role = excluded.role, invited_by = excluded.invited_by, status = 'pending_invite', left_at = NULL
    WHERE m.status IN ('inactive', 'pending_invite')
    RETURNING m.id INTO member;
    IF member IS NULL THEN
        RAISE unique_violation USING
            MESSAGE = format('%s is in the family already', person),
            CONSTRAINT = 'family_members_family_id_user_id_key';
    END IF;
    PERFORM public.announce_deed(
        'family.member_invited', family, member,
        jsonb_build_object('member_id', member, 'user_id', person, 'role', new_role), inviter
    );
    RETURN member;
END
$$;

-- The person says yes or no to `invite_member`.
CREATE FUNCTION public.answer_invitation(family uuid, person uuid, is_accepted boolean) RETURNS uuid
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invited public.family_members;
BEGIN
    PERFORM public.lock_family(family);
    SELECT m.* INTO invited FROM public.family_members m
    WHERE m.family_id = family AND m.user_id = person AND m.status = 'pending_invite';
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no open invitation into this family';
    END IF;
    IF is_accepted THEN
        RETURN public.add_member(family, person, invited.role, NULL, person, '{"is_invited": true}');
    END IF;
    UPDATE public.family_members m SET status = 'inactive', left_at = now() WHERE m.id = invited.id;
    PERFORM public.announce_deed(
        'family.invitation_declined', family, invited.id,
        jsonb_build_object('member_id', invited.id, 'user_id', person, 'role', invited.role), person
    );
    RETURN invited.id;
END
$$;

-- Changes a member's role, or whether they may act (`active`, `suspended`); what is null stays. Says whether anything
-- changed.
CREATE FUNCTION public.change_member(
    family uuid, member uuid, actor uuid, new_role text DEFAULT NULL, new_status text DEFAULT NULL
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was public.family_members;
BEGIN
    PERFORM public.lock_family(family);
    SELECT m.* INTO was FROM public.family_members m
    WHERE m.family_id = family AND m.id = member AND m.status IN ('active', 'suspended');
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('no member %s in this family', member);
    END IF;
    IF new_status NOT IN ('active', 'suspended') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('a member is not made %s by a change', new_status),
            HINT = 'use remove_member';
    END IF;
    new_role := coalesce(new_role, was.role);
    new_status := coalesce(new_status, was.status);
    IF (new_role, new_status) = (was.role, was.status) THEN
        RETURN false;
    END IF;
    UPDATE public.family_members m SET role = new_role, status = new_status WHERE m.id = member;
    PERFORM public.announce_deed(
        'family.member_changed', family, member,
        jsonb_build_object(
            'member_id', member, 'user_id', was.user_id,
            'role_before', was.role, 'role', new_role, 'status_before', was.status, 'status', new_status
        ),
        actor
    );
    RETURN true;
END
$$;

-- Ends a membership; by the member, it is leaving. The row stays, for what the member wrote and for coming back.
CREATE FUNCTION public.remove_member(
    family uuid, member uuid, actor uuid, removed_at timestamptz DEFAULT now()
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    person uuid;
BEGIN
    PERFORM public.lock_family(family);
    UPDATE public.family_members m SET status = 'inactive', left_at = removed_at
    WHERE m.family_id = family AND m.id = member AND m.status <> 'inactive'
    RETURNING m.user_id INTO person;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('no member %s in this family', member);
    END IF;
    PERFORM public.announce_deed(
        'family.member_removed', family, member,
        jsonb_build_object('member_id', member, 'user_id', person, 'has_left', person = actor), actor
    );
END
$$;

-- Hands the family over: another active member owns it, who did so administers it.
CREATE FUNCTION public.transfer_ownership(family uuid, owner_member uuid, heir_member uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner uuid;
    heir uuid;
BEGIN
    PERFORM public.lock_family(family);
    UPDATE public.family_members m SET role = 'OWNER'
    WHERE m.family_id = family AND m.id = heir_member AND m.id <> owner_member AND m.status = 'active'
    RETURNING m.user_id INTO heir;
    UPDATE public.family_members m SET role = 'ADMIN'
    WHERE m.family_id = family AND m.id = owner_member AND m.role = 'OWNER' AND m.status = 'active'
    RETURNING m.user_id INTO owner;
    IF owner IS NULL OR heir IS NULL THEN
        RAISE no_data_found USING
            MESSAGE = 'a family goes from one of its active owners to another active member';
    END IF;
    PERFORM public.announce_deed(
        'family.ownership_transferred', family, heir_member,
        jsonb_build_object(
            'from_member_id', owner_member, 'from_user_id', owner, 'to_member_id', heir_member, 'to_user_id', heir
        ),
        owner
    );
END
$$;

-- The statement that reads everything of a family `$1`, a line of JSON each: what it is, then
-- `{"table": .., "row": ..}`. Made from the catalogue: a table that is added later is in it.
CREATE FUNCTION public.family_lines() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lines text;
BEGIN
    SELECT string_agg(
        format(
            'SELECT jsonb_build_object(''table'', %L, ''row'', to_jsonb(t)) FROM public.%I t WHERE t.family_id = $1',
            c.relname, c.relname
        ),
        ' UNION ALL ' ORDER BY c.relname
    ) INTO lines
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        -- Made from other rows, or about exports.
        AND c.relname NOT IN ('search_index', 'family_usage', 'family_exports')
        AND EXISTS (
            SELECT FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname = 'family_id' AND a.atttypid = 'uuid'::regtype
        );
    RETURN 'SELECT jsonb_build_object(''format'', ''nself.family/1'', ''family_id'', $1, ''exported_at'', now())'
        || ' UNION ALL SELECT jsonb_build_object(''table'', ''families'', ''row'', to_jsonb(f))'
        || ' FROM public.families f WHERE f.id = $1'
        -- Of a person, what the family sees of them.
        || ' UNION ALL SELECT jsonb_build_object(''table'', ''users'', ''row'', jsonb_build_object('
        || '''id'', u.id, ''kind'', u.kind, ''display_name'', u.display_name, ''avatar_url'', u.avatar_url))'
        || ' FROM public.users u JOIN public.family_members m ON m.user_id = u.id WHERE m.family_id = $1'
        || ' UNION ALL ' || lines;
END
$$;

-- Opens the cursor `family_export` over everything that a family has, also of one that is deleted and not purged. All
-- lines are of one moment, because they are one statement; none is made before it is fetched, so a family of any size
-- takes as much memory as the lines of one FETCH. `note_export` afterwards says that they were fetched to the end.
--
-- It reads by the owner's rights: whoever exports a family need not be one who may read each of its tables. So it asks
-- by itself who calls. It is for those who may write an export down and work across families.
CREATE FUNCTION public.open_family_export(family uuid) RETURNS refcursor
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lines refcursor := 'family_export';
BEGIN
    IF NOT has_table_privilege(session_user, 'public.family_exports', 'INSERT')
        OR NOT (nself.crosses_families() OR pg_has_role(session_user, current_user, 'USAGE'))
    THEN
        RAISE insufficient_privilege USING MESSAGE = format('%I may not export families', session_user);
    END IF;
    PERFORM FROM public.families f WHERE f.id = family;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('no family %s', family);
    END IF;
    OPEN lines NO SCROLL FOR EXECUTE
        'SELECT l.line::text FROM (' || public.family_lines() || ') l (line)' USING family;
    RETURN lines;
END
$$;

-- Says that a family was exported: how many rows went, to whom. An operator is no person: then `exporter` is null.
CREATE FUNCTION public.note_export(family uuid, exporter uuid, written bigint, actor text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.family_exports (family_id, exported_by, rows) VALUES (family, exporter, written);
    PERFORM public.announce_deed(
        'family.exported', family, family, jsonb_build_object('family_id', family, 'rows', written), actor
    );
END
$$;

-- The same in one statement, which holds all lines until it ends: for a shell.
CREATE FUNCTION public.export_family(family uuid, actor uuid) RETURNS SETOF jsonb
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lines refcursor := public.open_family_export(family);
    line jsonb;
    -- The first line is no row.
    written bigint := -1;
BEGIN
    LOOP
        FETCH lines INTO line;
        EXIT WHEN NOT FOUND;
        written := written + 1;
        RETURN NEXT line;
    END LOOP;
    CLOSE lines;
    PERFORM public.note_export(family, actor, written, actor::text);
END
$$;

-- Deletes a family for its members: it is not found any more, and its machines are cut off. The rows stay until they
-- are purged; until then it can be taken back.
CREATE FUNCTION public.delete_family(family uuid, actor text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone_at timestamptz;
BEGIN
    PERFORM public.lock_family(family);
    -- After whoever changed the family until now, and by the clock of the exports that come after it.
    gone_at := clock_timestamp();
    UPDATE public.families f SET deleted_at = gone_at WHERE f.id = family;
    UPDATE public.devices d SET revoked_at = gone_at WHERE d.family_id = family AND d.revoked_at IS NULL;
    PERFORM public.announce_deed('family.deleted', family, family, jsonb_build_object('family_id', family), actor);
END
$$;

-- Takes a deleted family back, as long as there is time to regret it and somebody who owns it. What was cut off stays
-- so: machines are paired anew, and invitations made anew.
CREATE FUNCTION public.take_back_family(family uuid, actor text, kept interval DEFAULT '30 days') RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone_at timestamptz;
BEGIN
    SELECT f.deleted_at INTO gone_at FROM public.families f WHERE f.id = family FOR NO KEY UPDATE;
    IF gone_at IS NULL THEN
        RAISE no_data_found USING MESSAGE = format('no deleted family %s', family);
    END IF;
    IF gone_at <= now() - kept THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the family could be taken back until %s', gone_at + kept);
    END IF;
    IF NOT EXISTS (
        SELECT FROM public.family_members m JOIN public.users u ON u.id = m.user_id
        WHERE m.family_id = family AND m.role = 'OWNER' AND m.status = 'active' AND u.status <> 'deleted'
    ) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'nobody is left who owns the family';
    END IF;
    UPDATE public.families f SET deleted_at = NULL WHERE f.id = family;
    PERFORM public.announce_deed('family.taken_back', family, family, jsonb_build_object('family_id', family), actor);
END
$$;

-- Tables with rows of families that no foreign key takes away with the family: a project's own may be some.
CREATE FUNCTION public.tables_to_clear() RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid::regclass
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'family_id' AND a.atttypid = 'uuid'::regtype
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND NOT EXISTS (
            SELECT FROM pg_constraint k
            WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confdeltype = 'c' AND k.conkey[1] = a.attnum
        )
    ORDER BY c.relname
$$;

-- Deletes a family's rows for good, once it was exported after its deletion, and the time is over in which somebody may
-- regret it. What is written at the same time waits for this, and then has no family to refer to. What others know of
-- the family, in schemas of plugins, goes by their foreign keys or when they hear of `family.purged`.
--
-- It works by the owner's rights, as the export does, and is for those who may delete families across families.
CREATE FUNCTION public.purge_family(family uuid, actor text, kept interval DEFAULT '30 days') RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone_at timestamptz;
    cleared regclass;
BEGIN
    IF NOT has_table_privilege(session_user, 'public.families', 'DELETE')
        OR NOT (nself.crosses_families() OR pg_has_role(session_user, current_user, 'USAGE'))
    THEN
        RAISE insufficient_privilege USING MESSAGE = format('%I may not purge families', session_user);
    END IF;
    SELECT f.deleted_at INTO gone_at FROM public.families f WHERE f.id = family FOR UPDATE;
    IF gone_at IS NULL THEN
        RAISE no_data_found USING MESSAGE = format('no deleted family %s', family);
    END IF;
    IF gone_at > now() - kept THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the family is kept until %s', gone_at + kept);
    END IF;
    IF NOT EXISTS (
        SELECT FROM public.family_exports e WHERE e.family_id = family AND e.exported_at >= gone_at
    ) THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'the family was not exported since it was deleted',
            HINT = 'store what an export returns first';
    END IF;
    PERFORM public.announce_deed('family.purged', family, family, jsonb_build_object('family_id', family), actor);
    FOR cleared IN SELECT t FROM public.tables_to_clear() t LOOP
        EXECUTE format('DELETE FROM %s t WHERE t.family_id = $1', cleared) USING family;
    END LOOP;
    DELETE FROM public.families f WHERE f.id = family;
END
$$;
