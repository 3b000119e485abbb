-- What members say to what others show: comments, reactions, and what one wants to find again.

CREATE TABLE public.comments (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    post_id uuid,
    media_item_id uuid,
    recipe_id uuid,
    author_id uuid,
    parent_id uuid,
    body text NOT NULL,
    edited_at timestamptz,
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT comments_pkey PRIMARY KEY (id),
    CONSTRAINT comments_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT comments_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT comments_post_id_fkey FOREIGN KEY (family_id, post_id)
        REFERENCES public.posts (family_id, id) ON DELETE CASCADE,
    CONSTRAINT comments_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE CASCADE,
    CONSTRAINT comments_recipe_id_fkey FOREIGN KEY (family_id, recipe_id)
        REFERENCES public.recipes (family_id, id) ON DELETE CASCADE,
    CONSTRAINT comments_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT comments_parent_id_fkey FOREIGN KEY (family_id, parent_id)
        REFERENCES public.comments (family_id, id) ON DELETE CASCADE,
    CONSTRAINT comments_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT comments_subject_check CHECK (num_nonnulls(post_id, media_item_id, recipe_id) = 1),
    CONSTRAINT comments_body_check CHECK (length(body) BETWEEN 1 AND 10000),
    CONSTRAINT comments_parent_check CHECK (parent_id <> id),
    CONSTRAINT comments_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL)
);

COMMENT ON TABLE public.comments IS 'What a member says about a post, a media item or a recipe';

CREATE INDEX comments_post_id_idx ON public.comments (family_id, post_id, created_at, id) WHERE post_id IS NOT NULL;
CREATE INDEX comments_media_item_id_idx ON public.comments (family_id, media_item_id, created_at, id)
    WHERE media_item_id IS NOT NULL;
CREATE INDEX comments_recipe_id_idx ON public.comments (family_id, recipe_id, created_at, id)
    WHERE recipe_id IS NOT NULL;
CREATE INDEX comments_author_id_idx ON public.comments (family_id, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX comments_parent_id_idx ON public.comments (family_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX comments_child_approved_by_idx ON public.comments (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER comments_touch BEFORE UPDATE ON public.comments
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.comments');

CREATE TABLE public.post_reactions (
    family_id uuid NOT NULL,
    post_id uuid NOT NULL,
    member_id uuid NOT NULL,
    emoji text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT post_reactions_pkey PRIMARY KEY (family_id, post_id, member_id, emoji),
    CONSTRAINT post_reactions_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT post_reactions_post_id_fkey FOREIGN KEY (family_id, post_id)
        REFERENCES public.posts (family_id, id) ON DELETE CASCADE,
    CONSTRAINT post_reactions_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT post_reactions_emoji_check CHECK (length(emoji) BETWEEN 1 AND 32)
);

COMMENT ON TABLE public.post_reactions IS 'How a member feels about a post; one of each kind';

CREATE INDEX post_reactions_member_id_idx ON public.post_reactions (family_id, member_id);

SELECT nself.isolate('public.post_reactions');

CREATE TABLE public.favourites (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    member_id uuid NOT NULL,
    post_id uuid,
    media_item_id uuid,
    recipe_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT favourites_pkey PRIMARY KEY (id),
    CONSTRAINT favourites_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT favourites_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT favourites_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT favourites_post_id_fkey FOREIGN KEY (family_id, post_id)
        REFERENCES public.posts (family_id, id) ON DELETE CASCADE,
    CONSTRAINT favourites_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE CASCADE,
    CONSTRAINT favourites_recipe_id_fkey FOREIGN KEY (family_id, recipe_id)
        REFERENCES public.recipes (family_id, id) ON DELETE CASCADE,
    CONSTRAINT favourites_subject_check CHECK (num_nonnulls(post_id, media_item_id, recipe_id) = 1),
    CONSTRAINT favourites_post_id_key UNIQUE (family_id, member_id, post_id),
    CONSTRAINT favourites_media_item_id_key UNIQUE (family_id, member_id, media_item_id),
    CONSTRAINT favourites_recipe_id_key UNIQUE (family_id, member_id, recipe_id)
);

COMMENT ON TABLE public.favourites IS 'What a member wants to find again; nobody else sees it';

CREATE INDEX favourites_member_id_idx ON public.favourites (family_id, member_id, created_at DESC, id DESC);
CREATE INDEX favourites_post_id_idx ON public.favourites (family_id, post_id) WHERE post_id IS NOT NULL;
CREATE INDEX favourites_media_item_id_idx ON public.favourites (family_id, media_item_id)
    WHERE media_item_id IS NOT NULL;
CREATE INDEX favourites_recipe_id_idx ON public.favourites (family_id, recipe_id) WHERE recipe_id IS NOT NULL;

SELECT nself.isolate('public.favourites');
