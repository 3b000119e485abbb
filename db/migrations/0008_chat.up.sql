-- Conversations of members. Who writes, reacts or reads is in the conversation: the foreign keys say so, not the
-- plugin.

CREATE TABLE public.conversations (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    kind text NOT NULL DEFAULT 'group',
    title text NOT NULL DEFAULT '',
    created_by uuid,
    -- Of its newest message; kept by a trigger.
    last_message_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT conversations_pkey PRIMARY KEY (id),
    CONSTRAINT conversations_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT conversations_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT conversations_created_by_fkey FOREIGN KEY (family_id, created_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (created_by),
    CONSTRAINT conversations_kind_check CHECK (kind IN ('direct', 'group', 'everyone')),
    CONSTRAINT conversations_title_check CHECK (length(title) <= 200)
);

COMMENT ON TABLE public.conversations IS 'A conversation of some members';

CREATE INDEX conversations_recent_idx ON public.conversations (family_id, last_message_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX conversations_created_by_idx ON public.conversations (family_id, created_by)
    WHERE created_by IS NOT NULL;

CREATE TRIGGER conversations_touch BEFORE UPDATE ON public.conversations
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.conversations');

CREATE TABLE public.conversation_members (
    family_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    member_id uuid NOT NULL,
    is_moderator boolean NOT NULL DEFAULT false,
    muted_until timestamptz,
    left_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT conversation_members_pkey PRIMARY KEY (family_id, conversation_id, member_id),
    CONSTRAINT conversation_members_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT conversation_members_conversation_id_fkey FOREIGN KEY (family_id, conversation_id)
        REFERENCES public.conversations (family_id, id) ON DELETE CASCADE,
    CONSTRAINT conversation_members_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE
);

COMMENT ON TABLE public.conversation_members IS
    'Who is in a conversation; who left stays listed, for what they wrote';

CREATE INDEX conversation_members_member_id_idx ON public.conversation_members (family_id, member_id);

CREATE TRIGGER conversation_members_touch BEFORE UPDATE ON public.conversation_members
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.conversation_members');

CREATE TABLE public.messages (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    author_id uuid,
    reply_to_id uuid,
    media_item_id uuid,
    body text NOT NULL DEFAULT '',
    edited_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT messages_pkey PRIMARY KEY (id),
    CONSTRAINT messages_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT messages_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT messages_conversation_id_fkey FOREIGN KEY (family_id, conversation_id)
        REFERENCES public.conversations (family_id, id) ON DELETE CASCADE,
    CONSTRAINT messages_media_item_id_fkey FOREIGN KEY (family_id, media_item_id)
        REFERENCES public.media_items (family_id, id) ON DELETE SET NULL (media_item_id),
    CONSTRAINT messages_conversation_id_id_key UNIQUE (family_id, conversation_id, id),
    CONSTRAINT messages_author_id_fkey FOREIGN KEY (family_id, conversation_id, author_id)
        REFERENCES public.conversation_members (family_id, conversation_id, member_id) ON DELETE SET NULL (author_id),
    CONSTRAINT messages_reply_to_id_fkey FOREIGN KEY (family_id, conversation_id, reply_to_id)
        REFERENCES public.messages (family_id, conversation_id, id) ON DELETE SET NULL (reply_to_id),
    CONSTRAINT messages_body_check CHECK (length(body) <= 20000),
    CONSTRAINT messages_content_check CHECK (body <> '' OR media_item_id IS NOT NULL OR deleted_at IS NOT NULL)
);

COMMENT ON TABLE public.messages IS 'A message in a conversation';

CREATE INDEX messages_recent_idx ON public.messages (family_id, conversation_id, created_at DESC, id DESC);
CREATE INDEX messages_author_id_idx ON public.messages (family_id, conversation_id, author_id)
    WHERE author_id IS NOT NULL;
CREATE INDEX messages_reply_to_id_idx ON public.messages (family_id, conversation_id, reply_to_id)
    WHERE reply_to_id IS NOT NULL;
CREATE INDEX messages_media_item_id_idx ON public.messages (family_id, media_item_id) WHERE media_item_id IS NOT NULL;

CREATE TRIGGER messages_touch BEFORE UPDATE ON public.messages
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.messages');

CREATE TABLE public.message_reactions (
    family_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    member_id uuid NOT NULL,
    emoji text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_reactions_pkey PRIMARY KEY (family_id, conversation_id, message_id, member_id, emoji),
    CONSTRAINT message_reactions_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT message_reactions_message_id_fkey FOREIGN KEY (family_id, conversation_id, message_id)
        REFERENCES public.messages (family_id, conversation_id, id) ON DELETE CASCADE,
    CONSTRAINT message_reactions_member_id_fkey FOREIGN KEY (family_id, conversation_id, member_id)
        REFERENCES public.conversation_members (family_id, conversation_id, member_id) ON DELETE CASCADE,
    CONSTRAINT message_reactions_emoji_check CHECK (length(emoji) BETWEEN 1 AND 32)
);

COMMENT ON TABLE public.message_reactions IS 'How a member of the conversation feels about a message';

CREATE INDEX message_reactions_member_id_idx ON public.message_reactions (family_id, conversation_id, member_id);

SELECT nself.isolate('public.message_reactions');

CREATE TABLE public.read_states (
    family_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    member_id uuid NOT NULL,
    last_read_message_id uuid,
    last_read_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT read_states_pkey PRIMARY KEY (family_id, conversation_id, member_id),
    CONSTRAINT read_states_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT read_states_member_id_fkey FOREIGN KEY (family_id, conversation_id, member_id)
        REFERENCES public.conversation_members (family_id, conversation_id, member_id) ON DELETE CASCADE,
    CONSTRAINT read_states_last_read_message_id_fkey FOREIGN KEY (family_id, conversation_id, last_read_message_id)
        REFERENCES public.messages (family_id, conversation_id, id) ON DELETE SET NULL (last_read_message_id)
);

COMMENT ON TABLE public.read_states IS 'How far a member has read a conversation';

CREATE INDEX read_states_last_read_message_id_idx
    ON public.read_states (family_id, conversation_id, last_read_message_id) WHERE last_read_message_id IS NOT NULL;

SELECT nself.isolate('public.read_states');

-- The list of conversations is in the order of their last words. Looking those up would be a query per conversation.
CREATE FUNCTION public.raise_conversation() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.conversations c SET last_message_at = m.last_at
    FROM (SELECT n.family_id, n.conversation_id, max(n.created_at) AS last_at FROM new_rows n GROUP BY 1, 2) AS m
    WHERE c.family_id = m.family_id AND c.id = m.conversation_id AND c.last_message_at < m.last_at;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.raise_conversation() FROM PUBLIC;

CREATE TRIGGER messages_raise AFTER INSERT ON public.messages
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.raise_conversation();

-- Nobody speaks in a conversation that they have left.
CREATE FUNCTION public.check_message_author() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.conversation_members m
        WHERE m.family_id = NEW.family_id AND m.conversation_id = NEW.conversation_id
            AND m.member_id = NEW.author_id AND m.left_at IS NOT NULL
    ) THEN
        RAISE check_violation USING
            MESSAGE = 'the author has left the conversation',
            CONSTRAINT = 'messages_author_left_check',
            HINT = 'only who is in a conversation writes into it';
    END IF;
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION public.check_message_author() FROM PUBLIC;

CREATE TRIGGER messages_author BEFORE INSERT ON public.messages
    FOR EACH ROW EXECUTE FUNCTION public.check_message_author();
