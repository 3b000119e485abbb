-- How a family is set up: its settings, switches, relationships, the limits on its children, and what it may use up.
-- One row per family where there is one of a kind, made by a trigger with the family.

CREATE TABLE public.family_settings (
    family_id uuid NOT NULL,
    locale text NOT NULL DEFAULT 'en',
    timezone text NOT NULL DEFAULT 'UTC',
    -- 0 is Sunday.
    week_starts_on smallint NOT NULL DEFAULT 1,
    default_visibility text NOT NULL DEFAULT 'family',
    motto text NOT NULL DEFAULT '',
    cover_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT family_settings_pkey PRIMARY KEY (family_id),
    CONSTRAINT family_settings_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT family_settings_locale_check CHECK (length(locale) BETWEEN 2 AND 35),
    CONSTRAINT family_settings_timezone_check CHECK (length(timezone) BETWEEN 1 AND 64),
    CONSTRAINT family_settings_week_starts_on_check CHECK (week_starts_on BETWEEN 0 AND 6),
    CONSTRAINT family_settings_default_visibility_check CHECK (
        default_visibility IN ('family', 'adults_only', 'private')
    ),
    CONSTRAINT family_settings_motto_check CHECK (length(motto) <= 500),
    CONSTRAINT family_settings_cover_url_check CHECK (length(cover_url) <= 2000)
);

COMMENT ON TABLE public.family_settings IS 'How a family is set up; made with the family';


CREATE TRIGGER family_settings_touch BEFORE UPDATE ON public.family_settings
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.family_settings');

CREATE TABLE public.family_flags (
    family_id uuid NOT NULL,
    flag text NOT NULL,
    is_on boolean NOT NULL,
    set_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT family_flags_pkey PRIMARY KEY (family_id, flag),
    CONSTRAINT family_flags_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT family_flags_set_by_fkey FOREIGN KEY (family_id, set_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (set_by),
    CONSTRAINT family_flags_flag_check CHECK (flag ~ '^[a-z][a-z0-9_]{0,62}$')
);

COMMENT ON TABLE public.family_flags IS 'Switches of a family: what its owner allowed or forbade beyond the roles';

CREATE INDEX family_flags_set_by_idx ON public.family_flags (family_id, set_by) WHERE set_by IS NOT NULL;

CREATE TRIGGER family_flags_touch BEFORE UPDATE ON public.family_flags
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.family_flags');

CREATE TABLE public.relationships (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    member_id uuid NOT NULL,
    relative_id uuid NOT NULL,
    -- `parent`: the member is a parent of the relative.
    kind text NOT NULL,
    -- Whether the two are mahram to each other. It holds for both, and does not follow from the kind alone.
    is_mahram boolean NOT NULL DEFAULT false,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT relationships_pkey PRIMARY KEY (id),
    CONSTRAINT relationships_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT relationships_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT relationships_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT relationships_relative_id_fkey FOREIGN KEY (family_id, relative_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT relationships_kind_check CHECK (
        kind IN (
            'parent', 'spouse', 'sibling', 'grandparent', 'aunt_or_uncle', 'cousin', 'guardian',
            'parent_in_law', 'sibling_in_law', 'foster_parent', 'other'
        )
    ),
    CONSTRAINT relationships_self_check CHECK (member_id <> relative_id),
    CONSTRAINT relationships_note_check CHECK (length(note) <= 500)
);

COMMENT ON TABLE public.relationships IS
    'The family graph: what one member is to another, read from the first; one row per pair';

CREATE UNIQUE INDEX relationships_pair_key
    ON public.relationships (family_id, least(member_id, relative_id), greatest(member_id, relative_id));
CREATE INDEX relationships_member_id_idx ON public.relationships (family_id, member_id);
CREATE INDEX relationships_relative_id_idx ON public.relationships (family_id, relative_id);

CREATE TRIGGER relationships_touch BEFORE UPDATE ON public.relationships
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.relationships');

CREATE TABLE public.parental_controls (
    family_id uuid NOT NULL,
    member_id uuid NOT NULL,
    content_rating text NOT NULL DEFAULT 'all_ages',
    -- Null is no limit.
    screen_minutes_daily smallint,
    -- On the clock of the family's time zone; may go over midnight.
    bedtime_from time,
    bedtime_until time,
    is_review_required boolean NOT NULL DEFAULT true,
    set_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parental_controls_pkey PRIMARY KEY (family_id, member_id),
    CONSTRAINT parental_controls_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT parental_controls_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT parental_controls_set_by_fkey FOREIGN KEY (family_id, set_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (set_by),
    CONSTRAINT parental_controls_content_rating_check CHECK (
        content_rating IN ('all_ages', 'from_7', 'from_13', 'from_16', 'adults')
    ),
    CONSTRAINT parental_controls_screen_minutes_daily_check CHECK (screen_minutes_daily BETWEEN 0 AND 1440),
    CONSTRAINT parental_controls_bedtime_check CHECK ((bedtime_from IS NULL) = (bedtime_until IS NULL))
);

COMMENT ON TABLE public.parental_controls IS
    'What a guardian set for a child or a youth; no row is no limit beyond the role';

CREATE INDEX parental_controls_set_by_idx ON public.parental_controls (family_id, set_by) WHERE set_by IS NOT NULL;

CREATE TRIGGER parental_controls_touch BEFORE UPDATE ON public.parental_controls
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.parental_controls');

CREATE TABLE public.family_quotas (
    family_id uuid NOT NULL,
    storage_bytes_max bigint NOT NULL DEFAULT 53687091200,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT family_quotas_pkey PRIMARY KEY (family_id),
    CONSTRAINT family_quotas_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT family_quotas_storage_bytes_max_check CHECK (storage_bytes_max >= 0)
);

COMMENT ON TABLE public.family_quotas IS 'What a family may use up; set by the operator, made with the family';


CREATE TRIGGER family_quotas_touch BEFORE UPDATE ON public.family_quotas
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.family_quotas');

CREATE TABLE public.family_usage (
    family_id uuid NOT NULL,
    storage_bytes bigint NOT NULL DEFAULT 0,
    media_items bigint NOT NULL DEFAULT 0,
    posts bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT family_usage_pkey PRIMARY KEY (family_id),
    CONSTRAINT family_usage_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT family_usage_counts_check CHECK (storage_bytes >= 0 AND media_items >= 0 AND posts >= 0)
);

COMMENT ON TABLE public.family_usage IS 'What a family uses up; counted by triggers, once per statement';


CREATE TRIGGER family_usage_touch BEFORE UPDATE ON public.family_usage
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.family_usage');

-- Whoever inserts a family needs no rights on what comes with it.
CREATE FUNCTION public.furnish_family() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.family_settings (family_id) VALUES (NEW.id);
    INSERT INTO public.family_quotas (family_id) VALUES (NEW.id);
    INSERT INTO public.family_usage (family_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.furnish_family() FROM PUBLIC;

CREATE TRIGGER families_furnish AFTER INSERT ON public.families
    FOR EACH ROW EXECUTE FUNCTION public.furnish_family();

INSERT INTO public.family_settings (family_id) SELECT f.id FROM public.families f;
INSERT INTO public.family_quotas (family_id) SELECT f.id FROM public.families f;
INSERT INTO public.family_usage (family_id) SELECT f.id FROM public.families f;
