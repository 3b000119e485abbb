-- What families tell each other. The feed is read by (created_at, id), newest first, within one family.

CREATE TABLE public.posts (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    kind text NOT NULL DEFAULT 'text',
    title text NOT NULL DEFAULT '',
    body text NOT NULL DEFAULT '',
    is_pinned boolean NOT NULL DEFAULT false,
    edited_at timestamptz,
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT posts_pkey PRIMARY KEY (id),
    CONSTRAINT posts_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT posts_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT posts_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT posts_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT posts_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT posts_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL),
    CONSTRAINT posts_kind_check CHECK (kind IN ('text', 'media', 'milestone', 'story', 'announcement')),
    CONSTRAINT posts_title_check CHECK (length(title) <= 300),
    CONSTRAINT posts_body_check CHECK (length(body) <= 50000)
);

COMMENT ON TABLE public.posts IS 'A post in the feed of a family';

-- The feed. What a child sees of it is a smaller one, and has its own order; so has what one member wrote.
CREATE INDEX posts_feed_idx ON public.posts (family_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX posts_child_feed_idx ON public.posts (family_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND child_approved_at IS NOT NULL;
CREATE INDEX posts_author_id_idx ON public.posts (family_id, author_id, created_at DESC, id DESC)
    WHERE author_id IS NOT NULL;
CREATE INDEX posts_pinned_idx ON public.posts (family_id, created_at DESC) WHERE is_pinned AND deleted_at IS NULL;
-- What an adult still has to look at.
CREATE INDEX posts_unreviewed_idx ON public.posts (family_id, created_at)
    WHERE deleted_at IS NULL AND child_approved_at IS NULL;
CREATE INDEX posts_child_approved_by_idx ON public.posts (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER posts_touch BEFORE UPDATE ON public.posts
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.posts');

CREATE TABLE public.post_assets (
    family_id uuid NOT NULL,
    post_id uuid NOT NULL,
    media_item_id uuid NOT NULL,
    place smallint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT post_assets_pkey PRIMARY KEY (family_id, post_id, media_item_id),
    CONSTRAINT post_assets_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT post_assets_post_id_fkey FOREIGN KEY (family_id, post_id)
        REFERENCES public.posts (family_id, id) ON DELETE CASCADE,
    CONSTRAINT post_assets_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE CASCADE,
    CONSTRAINT post_assets_place_key UNIQUE (family_id, post_id, place),
    CONSTRAINT post_assets_place_check CHECK (place BETWEEN 0 AND 999)
);

COMMENT ON TABLE public.post_assets IS 'A media item shown with a post, in its order';

CREATE INDEX post_assets_media_item_id_idx ON public.post_assets (family_id, media_item_id);

SELECT nself.isolate('public.post_assets');

CREATE TABLE public.post_audiences (
    family_id uuid NOT NULL,
    post_id uuid NOT NULL,
    member_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT post_audiences_pkey PRIMARY KEY (family_id, post_id, member_id),
    CONSTRAINT post_audiences_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT post_audiences_post_id_fkey FOREIGN KEY (family_id, post_id)
        REFERENCES public.posts (family_id, id) ON DELETE CASCADE,
    CONSTRAINT post_audiences_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE
);

COMMENT ON TABLE public.post_audiences IS 'Who may see a private post besides its author';

CREATE INDEX post_audiences_member_id_idx ON public.post_audiences (family_id, member_id);

SELECT nself.isolate('public.post_audiences');

CREATE FUNCTION public.count_posts() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.family_usage u
    SET posts = u.posts + CASE TG_OP WHEN 'INSERT' THEN c.posts ELSE -c.posts END
    FROM (SELECT r.family_id, count(*) AS posts FROM changed_rows r GROUP BY r.family_id) AS c
    WHERE u.family_id = c.family_id;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.count_posts() FROM PUBLIC;

CREATE TRIGGER posts_count_insert AFTER INSERT ON public.posts
    REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION public.count_posts();
CREATE TRIGGER posts_count_delete AFTER DELETE ON public.posts
    REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT EXECUTE FUNCTION public.count_posts();
