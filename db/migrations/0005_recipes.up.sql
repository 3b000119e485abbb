-- The family's cookbook. Ingredients and steps are read and written whole with their recipe, so they are in its row.

CREATE TABLE public.recipes (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    cover_media_id uuid,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    -- Arrays of objects; what is in them is the app's.
    ingredients jsonb NOT NULL DEFAULT '[]',
    steps jsonb NOT NULL DEFAULT '[]',
    servings smallint,
    prepare_minutes integer,
    cook_minutes integer,
    origin text NOT NULL DEFAULT '',
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT recipes_pkey PRIMARY KEY (id),
    CONSTRAINT recipes_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT recipes_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT recipes_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT recipes_cover_media_id_fkey FOREIGN KEY (family_id, cover_media_id)
        REFERENCES public.media_items (family_id, id) ON DELETE SET NULL (cover_media_id),
    CONSTRAINT recipes_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT recipes_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT recipes_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL),
    CONSTRAINT recipes_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT recipes_description_check CHECK (length(description) <= 10000),
    CONSTRAINT recipes_ingredients_check CHECK (
        jsonb_typeof(ingredients) = 'array' AND pg_column_size(ingredients) <= 65536
    ),
    CONSTRAINT recipes_steps_check CHECK (jsonb_typeof(steps) = 'array' AND pg_column_size(steps) <= 65536),
    CONSTRAINT recipes_servings_check CHECK (servings BETWEEN 1 AND 1000),
    CONSTRAINT recipes_minutes_check CHECK (prepare_minutes >= 0 AND cook_minutes >= 0),
    CONSTRAINT recipes_origin_check CHECK (length(origin) <= 500)
);

COMMENT ON TABLE public.recipes IS 'A recipe of the family';

CREATE INDEX recipes_recent_idx ON public.recipes (family_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX recipes_title_idx ON public.recipes (family_id, lower(title)) WHERE deleted_at IS NULL;
CREATE INDEX recipes_author_id_idx ON public.recipes (family_id, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX recipes_cover_media_id_idx ON public.recipes (family_id, cover_media_id)
    WHERE cover_media_id IS NOT NULL;
CREATE INDEX recipes_child_approved_by_idx ON public.recipes (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER recipes_touch BEFORE UPDATE ON public.recipes
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.recipes');
