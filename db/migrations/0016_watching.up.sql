-- What may be watched, by whom, and how much of it. The rating of what is shown stands beside what it is held against: the rating
-- that a guardian sets for a child. What a family may use up is its operator's to say.

ALTER TABLE public.media_items
    ADD COLUMN content_rating text NOT NULL DEFAULT 'all_ages',
    ADD CONSTRAINT media_items_content_rating_check CHECK (
        content_rating IN ('all_ages', 'from_7', 'from_13', 'from_16', 'adults')
    ) NOT VALID;
ALTER TABLE public.media_items VALIDATE CONSTRAINT media_items_content_rating_check;

ALTER TABLE public.live_events
    ADD COLUMN content_rating text NOT NULL DEFAULT 'all_ages',
    ADD CONSTRAINT live_events_content_rating_check CHECK (
        content_rating IN ('all_ages', 'from_7', 'from_13', 'from_16', 'adults')
    ) NOT VALID;
ALTER TABLE public.live_events VALIDATE CONSTRAINT live_events_content_rating_check;

-- Null is no limit beyond the installation's.
ALTER TABLE public.parental_controls
    ADD COLUMN can_watch boolean NOT NULL DEFAULT true,
    ADD COLUMN streams_max smallint,
    ADD CONSTRAINT parental_controls_streams_max_check CHECK (streams_max >= 0) NOT VALID;
ALTER TABLE public.parental_controls VALIDATE CONSTRAINT parental_controls_streams_max_check;

-- At the same time, and minutes in a month of the family's clock. Null is what the installation gives everybody.
ALTER TABLE public.family_quotas
    ADD COLUMN streams_max smallint,
    ADD COLUMN stream_minutes_monthly integer,
    ADD CONSTRAINT family_quotas_streams_check CHECK (streams_max >= 0 AND stream_minutes_monthly >= 0) NOT VALID;
ALTER TABLE public.family_quotas VALIDATE CONSTRAINT family_quotas_streams_check;
