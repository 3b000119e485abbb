-- One index over what a family can look for. Filled by triggers, once per statement, so a search is one query and no
-- writer can forget it. What is found carries who may see it, as the row it was made from. Messages are not in it: they
-- are their conversation's.

CREATE TABLE public.search_index (
    family_id uuid NOT NULL,
    kind text NOT NULL,
    subject_id uuid NOT NULL,
    author_id uuid,
    visibility text NOT NULL,
    child_approved_at timestamptz,
    title text NOT NULL,
    -- Without a language: families write in several at once. Titles weigh more.
    document tsvector NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT search_index_pkey PRIMARY KEY (family_id, kind, subject_id),
    CONSTRAINT search_index_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT search_index_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT search_index_kind_check CHECK (kind IN ('post', 'album', 'media', 'recipe', 'trip', 'event'))
);

COMMENT ON TABLE public.search_index IS 'What a family can look for, in one place; derived, filled by triggers';

CREATE INDEX search_index_document_idx ON public.search_index USING gin (document);
CREATE INDEX search_index_recent_idx ON public.search_index (family_id, created_at DESC);
CREATE INDEX search_index_author_id_idx ON public.search_index (family_id, author_id) WHERE author_id IS NOT NULL;

SELECT nself.isolate('public.search_index');

-- Arguments: the kind, the column with the title, and the columns with the rest of the text. Column names come from the
-- trigger's definition, nothing of a row becomes part of the statement.
CREATE FUNCTION public.index_for_search() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    subject_kind CONSTANT text := TG_ARGV[0];
    title CONSTANT text := format('n.%I', TG_ARGV[1]);
    rest text := '';
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM public.search_index s USING old_rows o
        WHERE s.family_id = o.family_id AND s.kind = subject_kind AND s.subject_id = o.id;
        RETURN NULL;
    END IF;
    FOR argument IN 2 .. TG_NARGS - 1 LOOP
        rest := rest || format(' || %L || n.%I', ' ', TG_ARGV[argument]);
    END LOOP;
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM public.search_index s USING new_rows n
        WHERE n.deleted_at IS NOT NULL
            AND s.family_id = n.family_id AND s.kind = subject_kind AND s.subject_id = n.id;
    END IF;
    EXECUTE format(
        $sql$
        INSERT INTO public.search_index AS s
            (family_id, kind, subject_id, author_id, visibility, child_approved_at, title, document, created_at)
        SELECT n.family_id, $1, n.id, n.author_id, n.visibility, n.child_approved_at, left(%1$s, 300),
            setweight(to_tsvector('simple', left(%1$s, 10000)), 'A')
                || setweight(to_tsvector('simple', left(''%2$s, 100000)), 'B'),
            n.created_at
        FROM new_rows n
        -- Rows that lose their author while their family is purged have no family to be found in.
        WHERE n.deleted_at IS NULL AND EXISTS (SELECT FROM public.families f WHERE f.id = n.family_id)
        ON CONFLICT (family_id, kind, subject_id) DO UPDATE SET
            author_id = excluded.author_id, visibility = excluded.visibility,
            child_approved_at = excluded.child_approved_at, title = excluded.title, document = excluded.document
        WHERE (s.author_id, s.visibility, s.child_approved_at, s.title, s.document)
            IS DISTINCT FROM
            (excluded.author_id, excluded.visibility, excluded.child_approved_at, excluded.title, excluded.document)
        $sql$,
        title, rest
    ) USING subject_kind;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.index_for_search() FROM PUBLIC;

CREATE TRIGGER posts_search_insert AFTER INSERT ON public.posts
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('post', 'title', 'body');
CREATE TRIGGER posts_search_update AFTER UPDATE ON public.posts
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('post', 'title', 'body');
CREATE TRIGGER posts_search_delete AFTER DELETE ON public.posts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('post', 'title', 'body');

CREATE TRIGGER albums_search_insert AFTER INSERT ON public.albums
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('album', 'title', 'description');
CREATE TRIGGER albums_search_update AFTER UPDATE ON public.albums
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('album', 'title', 'description');
CREATE TRIGGER albums_search_delete AFTER DELETE ON public.albums
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('album', 'title', 'description');

CREATE TRIGGER media_items_search_insert AFTER INSERT ON public.media_items
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('media', 'caption');
CREATE TRIGGER media_items_search_update AFTER UPDATE ON public.media_items
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('media', 'caption');
CREATE TRIGGER media_items_search_delete AFTER DELETE ON public.media_items
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('media', 'caption');

CREATE TRIGGER recipes_search_insert AFTER INSERT ON public.recipes
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('recipe', 'title', 'description', 'origin');
CREATE TRIGGER recipes_search_update AFTER UPDATE ON public.recipes
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('recipe', 'title', 'description', 'origin');
CREATE TRIGGER recipes_search_delete AFTER DELETE ON public.recipes
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('recipe', 'title', 'description', 'origin');

CREATE TRIGGER trips_search_insert AFTER INSERT ON public.trips
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('trip', 'title', 'destination', 'notes');
CREATE TRIGGER trips_search_update AFTER UPDATE ON public.trips
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('trip', 'title', 'destination', 'notes');
CREATE TRIGGER trips_search_delete AFTER DELETE ON public.trips
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('trip', 'title', 'destination', 'notes');

CREATE TRIGGER calendar_events_search_insert AFTER INSERT ON public.calendar_events
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('event', 'title', 'description', 'location');
CREATE TRIGGER calendar_events_search_update AFTER UPDATE ON public.calendar_events
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('event', 'title', 'description', 'location');
CREATE TRIGGER calendar_events_search_delete AFTER DELETE ON public.calendar_events
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION public.index_for_search('event', 'title', 'description', 'location');
