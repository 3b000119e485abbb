-- What is going to happen: trips, events with their invitations and reminders, and what is shown live while it happens.

CREATE TABLE public.trips (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    title text NOT NULL,
    destination text NOT NULL DEFAULT '',
    notes text NOT NULL DEFAULT '',
    starts_on date NOT NULL,
    ends_on date NOT NULL,
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT trips_pkey PRIMARY KEY (id),
    CONSTRAINT trips_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT trips_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT trips_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT trips_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT trips_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT trips_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL),
    CONSTRAINT trips_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT trips_destination_check CHECK (length(destination) <= 500),
    CONSTRAINT trips_notes_check CHECK (length(notes) <= 20000),
    CONSTRAINT trips_order_check CHECK (ends_on >= starts_on)
);

COMMENT ON TABLE public.trips IS 'A journey that several days and events belong to';

CREATE INDEX trips_starts_on_idx ON public.trips (family_id, starts_on, id) WHERE deleted_at IS NULL;
CREATE INDEX trips_author_id_idx ON public.trips (family_id, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX trips_child_approved_by_idx ON public.trips (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER trips_touch BEFORE UPDATE ON public.trips
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.trips');

CREATE TABLE public.calendar_events (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    trip_id uuid,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    location text NOT NULL DEFAULT '',
    kind text NOT NULL DEFAULT 'event',
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    is_all_day boolean NOT NULL DEFAULT false,
    -- Where its clock is: `every Monday at nine` moves with daylight saving time there.
    timezone text NOT NULL,
    -- RFC 5545, without `RRULE:`. Null happens once.
    rrule text,
    -- Occurrences that are left out.
    excluded_at timestamptz[] NOT NULL DEFAULT '{}',
    -- The end of the last occurrence; null for a rule that never ends.
    last_ends_at timestamptz,
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT calendar_events_pkey PRIMARY KEY (id),
    CONSTRAINT calendar_events_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT calendar_events_family_id_fkey FOREIGN KEY (family_id)
        REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT calendar_events_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT calendar_events_trip_id_fkey FOREIGN KEY (family_id, trip_id)
        REFERENCES public.trips (family_id, id) ON DELETE SET NULL (trip_id),
    CONSTRAINT calendar_events_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT calendar_events_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT calendar_events_child_approved_check CHECK (
        child_approved_by IS NULL OR child_approved_at IS NOT NULL
    ),
    CONSTRAINT calendar_events_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT calendar_events_description_check CHECK (length(description) <= 20000),
    CONSTRAINT calendar_events_location_check CHECK (length(location) <= 500),
    CONSTRAINT calendar_events_kind_check CHECK (
        kind IN ('event', 'birthday', 'anniversary', 'appointment', 'chore', 'meal')
    ),
    CONSTRAINT calendar_events_order_check CHECK (ends_at >= starts_at),
    CONSTRAINT calendar_events_timezone_check CHECK (length(timezone) BETWEEN 1 AND 64),
    CONSTRAINT calendar_events_rrule_check CHECK (
        rrule ~ '^FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY)(;[A-Z]+=[A-Z0-9,+:-]+)*$' AND length(rrule) <= 500
    ),
    CONSTRAINT calendar_events_excluded_at_check CHECK (cardinality(excluded_at) <= 1000),
    CONSTRAINT calendar_events_last_ends_at_check CHECK (
        last_ends_at >= ends_at AND (rrule IS NOT NULL OR last_ends_at = ends_at)
    )
);

COMMENT ON TABLE public.calendar_events IS 'An entry of the family calendar, once or by a rule';

CREATE INDEX calendar_events_starts_at_idx ON public.calendar_events (family_id, starts_at, id)
    WHERE deleted_at IS NULL;
-- A month is asked for with those rules that began before it and go on.
CREATE INDEX calendar_events_recurring_idx ON public.calendar_events (family_id, last_ends_at)
    WHERE rrule IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX calendar_events_author_id_idx ON public.calendar_events (family_id, author_id)
    WHERE author_id IS NOT NULL;
CREATE INDEX calendar_events_trip_id_idx ON public.calendar_events (family_id, trip_id) WHERE trip_id IS NOT NULL;
CREATE INDEX calendar_events_child_approved_by_idx ON public.calendar_events (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER calendar_events_touch BEFORE UPDATE ON public.calendar_events
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.calendar_events');

CREATE TABLE public.event_invites (
    family_id uuid NOT NULL,
    event_id uuid NOT NULL,
    member_id uuid NOT NULL,
    invited_by uuid,
    response text NOT NULL DEFAULT 'pending',
    responded_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_invites_pkey PRIMARY KEY (family_id, event_id, member_id),
    CONSTRAINT event_invites_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT event_invites_event_id_fkey FOREIGN KEY (family_id, event_id)
        REFERENCES public.calendar_events (family_id, id) ON DELETE CASCADE,
    CONSTRAINT event_invites_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT event_invites_invited_by_fkey FOREIGN KEY (family_id, invited_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (invited_by),
    CONSTRAINT event_invites_response_check CHECK (response IN ('pending', 'accepted', 'declined', 'maybe')),
    CONSTRAINT event_invites_responded_check CHECK ((response = 'pending') = (responded_at IS NULL))
);

COMMENT ON TABLE public.event_invites IS 'Who is asked to an event, and what they said';

CREATE INDEX event_invites_member_id_idx ON public.event_invites (family_id, member_id);
CREATE INDEX event_invites_invited_by_idx ON public.event_invites (family_id, invited_by)
    WHERE invited_by IS NOT NULL;

CREATE TRIGGER event_invites_touch BEFORE UPDATE ON public.event_invites
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.event_invites');

CREATE TABLE public.reminders (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    member_id uuid NOT NULL,
    event_id uuid,
    text text NOT NULL DEFAULT '',
    remind_at timestamptz NOT NULL,
    sent_at timestamptz,
    done_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reminders_pkey PRIMARY KEY (id),
    CONSTRAINT reminders_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT reminders_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT reminders_member_id_fkey FOREIGN KEY (family_id, member_id)
        REFERENCES public.family_members (family_id, id) ON DELETE CASCADE,
    CONSTRAINT reminders_event_id_fkey FOREIGN KEY (family_id, event_id)
        REFERENCES public.calendar_events (family_id, id) ON DELETE CASCADE,
    CONSTRAINT reminders_text_check CHECK (length(text) <= 500),
    CONSTRAINT reminders_subject_check CHECK (event_id IS NOT NULL OR text <> '')
);

COMMENT ON TABLE public.reminders IS 'A member wants to be reminded, of an event or of something else';

CREATE INDEX reminders_member_id_idx ON public.reminders (family_id, member_id, remind_at);
-- Who sends them asks across all families.
CREATE INDEX reminders_due_idx ON public.reminders (remind_at) WHERE sent_at IS NULL;
CREATE INDEX reminders_event_id_idx ON public.reminders (family_id, event_id) WHERE event_id IS NOT NULL;

CREATE TRIGGER reminders_touch BEFORE UPDATE ON public.reminders
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.reminders');

CREATE TABLE public.live_events (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    author_id uuid,
    calendar_event_id uuid,
    title text NOT NULL,
    state text NOT NULL DEFAULT 'planned',
    planned_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    -- The recording, once there is one.
    recording_media_id uuid,
    visibility text NOT NULL DEFAULT 'family',
    -- A child sees what an adult has looked at.
    child_approved_at timestamptz,
    child_approved_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT live_events_pkey PRIMARY KEY (id),
    CONSTRAINT live_events_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT live_events_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT live_events_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT live_events_calendar_event_id_fkey FOREIGN KEY (family_id, calendar_event_id)
        REFERENCES public.calendar_events (family_id, id) ON DELETE SET NULL (calendar_event_id),
    CONSTRAINT live_events_recording_media_id_fkey FOREIGN KEY (family_id, recording_media_id)
        REFERENCES public.media_items (family_id, id) ON DELETE SET NULL (recording_media_id),
    CONSTRAINT live_events_child_approved_by_fkey FOREIGN KEY (family_id, child_approved_by)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (child_approved_by),
    CONSTRAINT live_events_visibility_check CHECK (visibility IN ('family', 'adults_only', 'private', 'public')),
    CONSTRAINT live_events_child_approved_check CHECK (child_approved_by IS NULL OR child_approved_at IS NOT NULL),
    CONSTRAINT live_events_title_check CHECK (length(title) BETWEEN 1 AND 200),
    CONSTRAINT live_events_state_check CHECK (state IN ('planned', 'live', 'ended', 'cancelled')),
    CONSTRAINT live_events_started_check CHECK (
        CASE state WHEN 'planned' THEN started_at IS NULL WHEN 'cancelled' THEN true ELSE started_at IS NOT NULL END
    ),
    CONSTRAINT live_events_ended_check CHECK ((state = 'ended') = (ended_at IS NOT NULL) AND ended_at >= started_at)
);

COMMENT ON TABLE public.live_events IS 'Something shown live: a wedding, a call to grandmother';

CREATE INDEX live_events_planned_idx ON public.live_events (family_id, planned_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX live_events_author_id_idx ON public.live_events (family_id, author_id) WHERE author_id IS NOT NULL;
CREATE INDEX live_events_calendar_event_id_idx ON public.live_events (family_id, calendar_event_id)
    WHERE calendar_event_id IS NOT NULL;
CREATE INDEX live_events_recording_media_id_idx ON public.live_events (family_id, recording_media_id)
    WHERE recording_media_id IS NOT NULL;
CREATE INDEX live_events_child_approved_by_idx ON public.live_events (family_id, child_approved_by)
    WHERE child_approved_by IS NOT NULL;

CREATE TRIGGER live_events_touch BEFORE UPDATE ON public.live_events
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.live_events');

CREATE TABLE public.event_markers (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    family_id uuid NOT NULL,
    live_event_id uuid NOT NULL,
    author_id uuid,
    offset_ms bigint NOT NULL,
    label text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_markers_pkey PRIMARY KEY (id),
    CONSTRAINT event_markers_family_id_id_key UNIQUE (family_id, id),
    CONSTRAINT event_markers_family_id_fkey FOREIGN KEY (family_id) REFERENCES public.families (id) ON DELETE CASCADE,
    CONSTRAINT event_markers_live_event_id_fkey FOREIGN KEY (family_id, live_event_id)
        REFERENCES public.live_events (family_id, id) ON DELETE CASCADE,
    CONSTRAINT event_markers_author_id_fkey FOREIGN KEY (family_id, author_id)
        REFERENCES public.family_members (family_id, id) ON DELETE SET NULL (author_id),
    CONSTRAINT event_markers_offset_ms_check CHECK (offset_ms >= 0),
    CONSTRAINT event_markers_label_check CHECK (length(label) BETWEEN 1 AND 200)
);

COMMENT ON TABLE public.event_markers IS 'A moment in a live event that is worth finding again';

CREATE INDEX event_markers_live_event_id_idx ON public.event_markers (family_id, live_event_id, offset_ms, id);
CREATE INDEX event_markers_author_id_idx ON public.event_markers (family_id, author_id) WHERE author_id IS NOT NULL;

CREATE TRIGGER event_markers_touch BEFORE UPDATE ON public.event_markers
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

SELECT nself.isolate('public.event_markers');
