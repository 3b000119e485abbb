-- People, their families and their machines: what every plugin and Hasura stand on. No credential is here; those are
-- the auth plugin's, in a schema that Hasura never tracks.

CREATE TABLE public.users (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    kind text NOT NULL DEFAULT 'human',
    -- As it was normalised when it was given: lower case. A child may have none.
    email text,
    email_verified_at timestamptz,
    display_name text NOT NULL DEFAULT '',
    avatar_url text,
    locale text NOT NULL DEFAULT 'en',
    timezone text NOT NULL DEFAULT 'UTC',
    profile jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'active',
    is_anonymous boolean NOT NULL DEFAULT false,
    -- The guardian who made a child's account.
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users (id) ON DELETE SET NULL,
    CONSTRAINT users_kind_check CHECK (kind IN ('human', 'child', 'service')),
    CONSTRAINT users_email_check CHECK (email = lower(email) AND length(email) <= 254 AND email LIKE '_%@_%'),
    CONSTRAINT users_email_verified_check CHECK (email_verified_at IS NULL OR email IS NOT NULL),
    CONSTRAINT users_display_name_check CHECK (length(display_name) <= 200),
    CONSTRAINT users_avatar_url_check CHECK (length(avatar_url) <= 2000),
    CONSTRAINT users_locale_check CHECK (length(locale) BETWEEN 2 AND 35),
    CONSTRAINT users_timezone_check CHECK (length(timezone) BETWEEN 1 AND 64),
    CONSTRAINT users_profile_check CHECK (jsonb_typeof(profile) = 'object' AND pg_column_size(profile) <= 65536),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT users_deleted_check CHECK ((status = 'deleted') = (deleted_at IS NOT NULL))
);

COMMENT ON TABLE public.users IS 'A person, once for all families and apps; what proves who they are is in schema auth';

CREATE INDEX users_created_by_idx ON public.users (created_by) WHERE created_by IS NOT NULL;
-- Those that nobody comes back to are looked for among few.
CREATE INDEX users_anonymous_idx ON public.users (id) WHERE is_anonymous;

-- The apps of the ecosystem (family, chat, tv), and who may do what in each: one account for all of them.
CREATE TABLE public.apps (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    slug text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT apps_pkey PRIMARY KEY (id),
    CONSTRAINT apps_slug_key UNIQUE (slug),
    CONSTRAINT apps_slug_check CHECK (slug ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$' AND length(slug) <= 63),
    CONSTRAINT apps_name_check CHECK (length(name) BETWEEN 1 AND 200)
);

COMMENT ON TABLE public.apps IS 'An app of the ecosystem that people sign in to';

CREATE TABLE public.user_app_roles (
    user_id uuid NOT NULL,
    app_id uuid NOT NULL,
    role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_app_roles_pkey PRIMARY KEY (user_id, app_id, role),
    CONSTRAINT user_app_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT user_app_roles_app_id_fkey FOREIGN KEY (app_id) REFERENCES public.apps (id) ON DELETE CASCADE,
    -- Hasura knows these two by name: one may do everything, the other is nobody.
    CONSTRAINT user_app_roles_role_check CHECK (role ~ '^[a-z][a-z0-9_]{0,62}$' AND role NOT IN ('admin', 'anonymous'))
);

COMMENT ON TABLE public.user_app_roles IS 'What a person may do in an app';

CREATE INDEX user_app_roles_app_id_idx ON public.user_app_roles (app_id);

CREATE TABLE public.families (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    name text NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT families_pkey PRIMARY KEY (id),
    CONSTRAINT families_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users (id) ON DELETE SET NULL,
    CONSTRAINT families_name_check CHECK (length(name) BETWEEN 1 AND 200)
);

COMMENT ON TABLE public.families IS 'A family: the tenant that everything else belongs to';

CREATE INDEX families_created_by_idx ON public.families (created_by) WHERE created_by IS NOT NULL;

-- One row per person and family for good: who leaves becomes inactive, and active again when invited back.
CREATE TABLE public.family_members (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    invited_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    left_at timestamptz,
    CONSTRAINT family_members_pkey PRIMARY KEY (id),
    CONSTRAINT family_members_family_id_user_id_key UNIQUE (family_id, user_id),
    -- What other tables refer to, so that a row of one family cannot name a member of another.
    CONSTRAINT family_members_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT family_members_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT family_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT family_members_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.users (id) ON DELETE SET NULL,
    CONSTRAINT family_members_role_check CHECK (
        role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER')
    ),
    CONSTRAINT family_members_status_check CHECK (status IN ('active', 'inactive', 'suspended', 'pending_invite')),
    CONSTRAINT family_members_left_check CHECK ((status = 'inactive') = (left_at IS NOT NULL))
);

COMMENT ON TABLE public.family_members IS 'A person in a family: the role, and whether it lasts';

CREATE INDEX family_members_user_id_idx ON public.family_members (user_id);
CREATE INDEX family_members_invited_by_idx ON public.family_members (invited_by) WHERE invited_by IS NOT NULL;

-- A family without an owner can be managed by nobody. Looked at when the transaction commits, so that ownership can be
-- handed over in two statements; the family's row is locked first, so that two owners cannot leave at the same time.
CREATE FUNCTION public.check_family_has_owner() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    family uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.family_id ELSE NEW.family_id END;
BEGIN
    PERFORM FROM public.families f WHERE f.id = family AND f.deleted_at IS NULL FOR UPDATE;
    IF FOUND AND NOT EXISTS (
        SELECT FROM public.family_members m
        WHERE m.family_id = family AND m.role = 'OWNER' AND m.status = 'active'
    ) THEN
        RAISE check_violation USING
            MESSAGE = 'a family needs an active member with the role OWNER',
            CONSTRAINT = 'family_members_owner_check',
            HINT = 'hand over the ownership first, or delete the family';
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER family_members_owner_check
    AFTER INSERT OR UPDATE OR DELETE ON public.family_members
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.check_family_has_owner();

-- Paired machines of a family: a television, a box in the hall. A machine is nobody's person.
CREATE TABLE public.devices (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL DEFAULT 'other',
    is_trusted boolean NOT NULL DEFAULT false,
    approved_by uuid,
    last_seen_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CONSTRAINT devices_pkey PRIMARY KEY (id),
    CONSTRAINT devices_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT devices_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT devices_approved_by_fkey FOREIGN KEY (family_id, approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (approved_by),
    CONSTRAINT devices_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT devices_kind_check CHECK (kind IN ('tv', 'box', 'phone', 'tablet', 'computer', 'speaker', 'other'))
);

COMMENT ON TABLE public.devices IS 'A machine that was paired with a family';

CREATE INDEX devices_approved_by_idx ON public.devices (family_id, approved_by) WHERE approved_by IS NOT NULL;

CREATE FUNCTION public.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE TRIGGER users_touch BEFORE UPDATE ON public.users
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER families_touch BEFORE UPDATE ON public.families
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER family_members_touch BEFORE UPDATE ON public.family_members
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER devices_touch BEFORE UPDATE ON public.devices
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
