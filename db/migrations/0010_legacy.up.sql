-- What is kept for those who come after: vaults that are sealed, what is in them, for whom, and when they open.

CREATE TABLE public.legacy_vaults (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'draft',
    sealed_at timestamptz,
    released_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT legacy_vaults_pkey PRIMARY KEY (id),
    CONSTRAINT legacy_vaults_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT legacy_vaults_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT legacy_vaults_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT legacy_vaults_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT legacy_vaults_description_check CHECK (length(description) <= 10000),
    CONSTRAINT legacy_vaults_state_check CHECK (state IN ('draft', 'sealed', 'released')),
    CONSTRAINT legacy_vaults_sealed_check CHECK ((state = 'draft') = (sealed_at IS NULL)),
    CONSTRAINT legacy_vaults_released_check CHECK ((state = 'released') = (released_at IS NOT NULL))
);

COMMENT ON TABLE public.legacy_vaults IS 'A vault: letters, media and papers that are given to others later';

CREATE INDEX legacy_vaults_recent_idx ON public.legacy_vaults (family_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX legacy_vaults_author_id_idx ON public.legacy_vaults (family_id, author_id) WHERE author_id IS NOT NULL;

CREATE TRIGGER legacy_vaults_touch BEFORE UPDATE ON public.legacy_vaults
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.legacy_vaults');

CREATE TABLE public.legacy_items (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    vault_id uuid NOT NULL,
    media_item_id uuid,
    kind text NOT NULL,
    title text NOT NULL,
    body text NOT NULL DEFAULT '',
    place integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT legacy_items_pkey PRIMARY KEY (id),
    CONSTRAINT legacy_items_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT legacy_items_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT legacy_items_vault_id_fkey FOREIGN KEY (family_id, vault_id)
        REFERENCES public.legacy_vaults (family_id, id) ON DELETE CASCADE,
    CONSTRAINT legacy_items_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE SET NULL (media_item_id),
    CONSTRAINT legacy_items_kind_check CHECK (kind IN ('letter', 'media', 'document', 'wish')),
    CONSTRAINT legacy_items_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT legacy_items_body_check CHECK (length(body) <= 100000)
);

COMMENT ON TABLE public.legacy_items IS 'A thing in a vault';

CREATE INDEX legacy_items_vault_id_idx ON public.legacy_items (family_id, vault_id, place, id);
CREATE INDEX legacy_items_media_item_id_idx ON public.legacy_items (family_id, media_item_id)
    WHERE media_item_id IS NOT NULL;

CREATE TRIGGER legacy_items_touch BEFORE UPDATE ON public.legacy_items
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.legacy_items');

CREATE TABLE public.legacy_recipients (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    vault_id uuid NOT NULL,
    member_id uuid,
    name text NOT NULL DEFAULT '',
    email text,
    told_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT legacy_recipients_pkey PRIMARY KEY (id),
    CONSTRAINT legacy_recipients_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT legacy_recipients_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT legacy_recipients_vault_id_fkey FOREIGN KEY (family_id, vault_id)
        REFERENCES public.legacy_vaults (family_id, id) ON DELETE CASCADE,
    CONSTRAINT legacy_recipients_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT legacy_recipients_member_id_key UNIQUE (family_id, vault_id, member_id),
    CONSTRAINT legacy_recipients_email_key UNIQUE (family_id, vault_id, email),
    CONSTRAINT legacy_recipients_either_check CHECK (num_nonnulls(member_id, email) = 1),
    CONSTRAINT legacy_recipients_name_check CHECK (length(name) <= 200),
    CONSTRAINT legacy_recipients_email_check CHECK (
        email = lower(email) AND length(email) <= 254 AND email LIKE '_%@_%'
    )
);

COMMENT ON TABLE public.legacy_recipients IS
    'Who is given a vault when it opens: a member, or somebody with an address';

CREATE INDEX legacy_recipients_member_id_idx ON public.legacy_recipients (family_id, member_id)
    WHERE member_id IS NOT NULL;

CREATE TRIGGER legacy_recipients_touch BEFORE UPDATE ON public.legacy_recipients
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.legacy_recipients');

CREATE TABLE public.inheritance_scenarios (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    vault_id uuid NOT NULL,
    name text NOT NULL,
    opens_by text NOT NULL,
    opens_on date,
    inactive_days integer,
    -- How many of the trusted have to say so.
    confirmations_min smallint NOT NULL DEFAULT 1,
    is_active boolean NOT NULL DEFAULT true,
    triggered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT inheritance_scenarios_pkey PRIMARY KEY (id),
    CONSTRAINT inheritance_scenarios_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT inheritance_scenarios_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT inheritance_scenarios_vault_id_fkey FOREIGN KEY (family_id, vault_id)
        REFERENCES public.legacy_vaults (family_id, id) ON DELETE CASCADE,
    CONSTRAINT inheritance_scenarios_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT inheritance_scenarios_opens_by_check CHECK (opens_by IN ('date', 'inactivity', 'confirmation')),
    CONSTRAINT inheritance_scenarios_date_check CHECK ((opens_by = 'date') = (opens_on IS NOT NULL)),
    CONSTRAINT inheritance_scenarios_inactive_days_check CHECK (
        (opens_by = 'inactivity') = (inactive_days IS NOT NULL) AND inactive_days BETWEEN 30 AND 3650
    ),
    CONSTRAINT inheritance_scenarios_confirmations_min_check CHECK (confirmations_min BETWEEN 1 AND 20)
);

COMMENT ON TABLE public.inheritance_scenarios IS 'What opens a vault';

CREATE INDEX inheritance_scenarios_due_idx ON public.inheritance_scenarios (opens_on)
    WHERE is_active AND triggered_at IS NULL AND opens_by = 'date';
CREATE INDEX inheritance_scenarios_vault_id_idx ON public.inheritance_scenarios (family_id, vault_id);

CREATE TRIGGER inheritance_scenarios_touch BEFORE UPDATE ON public.inheritance_scenarios
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.inheritance_scenarios');

-- A seal means something: what a vault holds stays as it was sealed, whoever writes. It goes with its vault or its
-- family; those rows are gone when this looks. The lock is waited for by who would seal the vault at this moment.
CREATE FUNCTION public.keep_sealed() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    family uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.family_id ELSE NEW.family_id END;
    vaults uuid[] := ARRAY[
        CASE TG_OP WHEN 'INSERT' THEN NULL ELSE OLD.vault_id END,
        CASE TG_OP WHEN 'DELETE' THEN NULL ELSE NEW.vault_id END
    ];
    is_sealed boolean;
BEGIN
    SELECT bool_or(held.state <> 'draft') INTO is_sealed FROM (
        SELECT v.state FROM public.legacy_vaults v JOIN public.families f ON f.id = v.family_id
        WHERE v.family_id = family AND v.id = ANY (vaults) FOR SHARE OF v
    ) AS held;
    IF is_sealed THEN
        RAISE check_violation USING
            MESSAGE = 'the vault is sealed',
            CONSTRAINT = 'legacy_vaults_sealed_check',
            HINT = 'what is in a sealed vault stays as it is';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;

CREATE FUNCTION public.keep_vault_order() RETURNS trigger
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (('draft', 'sealed'), ('sealed', 'released'))
        OR (OLD.state <> 'draft' AND NEW.sealed_at IS DISTINCT FROM OLD.sealed_at)
    THEN
        RAISE check_violation USING
            MESSAGE = format('a vault does not go from %s to %s', OLD.state, NEW.state),
            CONSTRAINT = 'legacy_vaults_order_check',
            HINT = 'a draft is sealed, and what is sealed is released: never back';
    END IF;
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION public.keep_sealed() FROM PUBLIC;

CREATE TRIGGER legacy_vaults_order BEFORE UPDATE OF state, sealed_at ON public.legacy_vaults
    FOR EACH ROW WHEN (OLD.state <> NEW.state OR OLD.sealed_at IS DISTINCT FROM NEW.sealed_at)
    EXECUTE FUNCTION public.keep_vault_order();
CREATE TRIGGER legacy_items_sealed BEFORE INSERT OR UPDATE OR DELETE ON public.legacy_items
    FOR EACH ROW EXECUTE FUNCTION public.keep_sealed();
