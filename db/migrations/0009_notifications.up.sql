-- By which way a member wants to hear of what. No row means the default of the topic.

CREATE TABLE public.notification_preferences (
    family_id uuid NOT NULL,
    member_id uuid NOT NULL,
    topic text NOT NULL,
    channel text NOT NULL,
    is_on boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT notification_preferences_pkey PRIMARY KEY (family_id, member_id, topic, channel),
    CONSTRAINT notification_preferences_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT notification_preferences_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT notification_preferences_topic_check CHECK (
        topic ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' AND length(topic) <= 100
    ),
    CONSTRAINT notification_preferences_channel_check CHECK (channel IN ('push', 'mail', 'in_app'))
);

COMMENT ON TABLE public.notification_preferences IS 'Whether a member wants to hear of a topic by a channel';


CREATE TRIGGER notification_preferences_touch BEFORE UPDATE ON public.notification_preferences
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.notification_preferences');
