-- Pictures, films and documents: albums, the items in them, and the files that are derived from an item. The bytes are
-- in object storage; a row says where.

CREATE TABLE public.albums (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT albums_pkey PRIMARY KEY (id),
    CONSTRAINT albums_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT albums_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT albums_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT albums_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT albums_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT albums_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL),
    CONSTRAINT albums_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT albums_description_check CHECK (length(description) <= 5000)
);

COMMENT ON TABLE public.albums IS 'A collection of media that belongs together';

CREATE INDEX albums_recent_idx ON public.albums (family_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX albums_author_id_idx ON public.albums (family_id, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX albums_child_approved_by_idx ON public.albums (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER albums_touch BEFORE UPDATE ON public.albums
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.albums');

CREATE TABLE public.media_items (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    album_id uuid,
    kind text NOT NULL,
    mime_type text NOT NULL,
    bytes bigint NOT NULL,
    -- Where the original is in the object store, below the family's prefix.
    storage_key text NOT NULL,
    sha256 bytea,
    width integer,
    height integer,
    duration_ms bigint,
    caption text NOT NULL DEFAULT '',
    -- When it was recorded, as far as it is known; the order of albums and of looking back.
    taken_at timestamptz,
    state text NOT NULL DEFAULT 'uploading',
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT media_items_pkey PRIMARY KEY (id),
    CONSTRAINT media_items_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT media_items_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT media_items_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT media_items_album_id_fkey FOREIGN KEY (family_id, album_id)
        REFERENCES public.albums (family_id, id) ON DELETE SET NULL (album_id),
    CONSTRAINT media_items_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT media_items_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT media_items_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL),
    CONSTRAINT media_items_storage_key_key UNIQUE (storage_key),
    CONSTRAINT media_items_kind_check CHECK (kind IN ('photo', 'video', 'audio', 'document')),
    CONSTRAINT media_items_mime_type_check CHECK (mime_type ~ '^[a-z]+/[a-z0-9][a-z0-9.+-]{0,126}$'),
    CONSTRAINT media_items_bytes_check CHECK (bytes >= 0),
    CONSTRAINT media_items_storage_key_check CHECK (length(storage_key) BETWEEN 1 AND 1000),
    CONSTRAINT media_items_sha256_check CHECK (length(sha256) = 32),
    CONSTRAINT media_items_size_check CHECK (width > 0 AND height > 0),
    CONSTRAINT media_items_duration_ms_check CHECK (duration_ms >= 0),
    CONSTRAINT media_items_caption_check CHECK (length(caption) <= 5000),
    CONSTRAINT media_items_state_check CHECK (state IN ('uploading', 'processing', 'ready', 'failed'))
);

COMMENT ON TABLE public.media_items IS 'A picture, a film, a recording or a document of a family';

CREATE INDEX media_items_recent_idx ON public.media_items (family_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX media_items_taken_idx ON public.media_items (family_id, taken_at DESC, id DESC)
    WHERE deleted_at IS NULL AND taken_at IS NOT NULL;
CREATE INDEX media_items_album_id_idx ON public.media_items (family_id, album_id, taken_at, id)
    WHERE album_id IS NOT NULL;
-- What processing still has to do is looked for among few.
CREATE INDEX media_items_unready_idx ON public.media_items (state, created_at)
    WHERE state IN ('uploading', 'processing');
CREATE INDEX media_items_author_id_idx ON public.media_items (family_id, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX media_items_child_approved_by_idx ON public.media_items (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER media_items_touch BEFORE UPDATE ON public.media_items
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.media_items');

CREATE TABLE public.media_variants (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    media_item_id uuid NOT NULL,
    name text NOT NULL,
    mime_type text NOT NULL,
    bytes bigint NOT NULL,
    storage_key text NOT NULL,
    width integer,
    height integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT media_variants_pkey PRIMARY KEY (id),
    CONSTRAINT media_variants_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT media_variants_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT media_variants_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE CASCADE,
    CONSTRAINT media_variants_name_key UNIQUE (family_id, media_item_id, name),
    CONSTRAINT media_variants_storage_key_key UNIQUE (storage_key),
    CONSTRAINT media_variants_name_check CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT media_variants_mime_type_check CHECK (mime_type ~ '^[a-z]+/[a-z0-9][a-z0-9.+-]{0,126}$'),
    CONSTRAINT media_variants_bytes_check CHECK (bytes >= 0),
    CONSTRAINT media_variants_storage_key_check CHECK (length(storage_key) BETWEEN 1 AND 1000),
    CONSTRAINT media_variants_size_check CHECK (width > 0 AND height > 0)
);

COMMENT ON TABLE public.media_variants IS 'A file derived from a media item: a thumbnail, a smaller film';

SELECT nself.isolate('public.media_variants');

CREATE TABLE public.media_tags (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    media_item_id uuid NOT NULL,
    tag text,
    member_id uuid,
    tagged_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT media_tags_pkey PRIMARY KEY (id),
    CONSTRAINT media_tags_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT media_tags_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT media_tags_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE CASCADE,
    CONSTRAINT media_tags_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT media_tags_tagged_by_fkey FOREIGN KEY (family_id, tagged_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (tagged_by),
    CONSTRAINT media_tags_tag_key UNIQUE (family_id, media_item_id, tag),
    CONSTRAINT media_tags_member_id_key UNIQUE (family_id, media_item_id, member_id),
    CONSTRAINT media_tags_either_check CHECK (num_nonnulls(tag, member_id) = 1),
    CONSTRAINT media_tags_tag_check CHECK (length(tag) BETWEEN 1 AND 64 AND tag = lower(tag))
);

COMMENT ON TABLE public.media_tags IS 'A word on a media item, or a member who can be seen in it';

CREATE INDEX media_tags_tag_idx ON public.media_tags (family_id, tag) WHERE tag IS NOT NULL;
CREATE INDEX media_tags_member_id_idx ON public.media_tags (family_id, member_id) WHERE member_id IS NOT NULL;
CREATE INDEX media_tags_tagged_by_idx ON public.media_tags (family_id, tagged_by) WHERE tagged_by IS NOT NULL;

SELECT nself.isolate('public.media_tags');

-- Counts what came and went in one statement, family by family, and refuses what does not fit into the quota. The row
-- of the family is locked until the transaction ends, so two uploads cannot both see the last free byte.
CREATE FUNCTION public.count_media() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    full_family uuid;
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE public.family_usage u
        SET storage_bytes = u.storage_bytes + c.bytes, media_items = u.media_items + c.items
        FROM (SELECT n.family_id, sum(n.bytes) AS bytes, count(*) AS items FROM new_rows n GROUP BY n.family_id) AS c
        WHERE u.family_id = c.family_id;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE public.family_usage u
        SET storage_bytes = u.storage_bytes - c.bytes, media_items = u.media_items - c.items
        FROM (SELECT o.family_id, sum(o.bytes) AS bytes, count(*) AS items FROM old_rows o GROUP BY o.family_id) AS c
        WHERE u.family_id = c.family_id;
        RETURN NULL;
    ELSE
        UPDATE public.family_usage u
        SET storage_bytes = u.storage_bytes + c.bytes
        FROM (
            SELECT n.family_id, sum(n.bytes - o.bytes) AS bytes
            FROM new_rows n JOIN old_rows o USING (id)
            WHERE n.bytes <> o.bytes GROUP BY n.family_id
        ) AS c
        WHERE u.family_id = c.family_id;
    END IF;
    IF FOUND THEN
        SELECT u.family_id INTO full_family
        FROM public.family_usage u JOIN public.family_quotas q ON q.family_id = u.family_id
        WHERE u.storage_bytes > q.storage_bytes_max
            AND u.family_id IN (SELECT n.family_id FROM new_rows n)
        LIMIT 1;
        IF full_family IS NOT NULL THEN
            RAISE check_violation USING
                MESSAGE = 'the family has no room for these files',
                CONSTRAINT = 'family_quotas_storage_check',
                HINT = 'delete media for good, or raise family_quotas.storage_bytes_max';
        END IF;
    END IF;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.count_media() FROM PUBLIC;

CREATE TRIGGER media_items_count_insert AFTER INSERT ON public.media_items
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.count_media();
CREATE TRIGGER media_items_count_update AFTER UPDATE ON public.media_items
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.count_media();
CREATE TRIGGER media_items_count_delete AFTER DELETE ON public.media_items
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.count_media();
