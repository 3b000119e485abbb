-- What may be watched, by whom, and how much of it. The rating of what is shown stands beside what it is held against: the rating
-- that a guardian sets for a child. What a family may use up is its operator's to say.
--
-- The checks are on columns that are new, so they hold for every row; Postgres reads each table once to see that.

ALTER TABLE public.media_items
    ADD COLUMN content_rating text NOT NULL DEFAULT 'all_ages',
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT media_items_content_rating_check CHECK (
        content_rating IN ('all_ages', 'from_7', 'from_13', 'from_16', 'adults')
    );

ALTER TABLE public.live_events
    ADD COLUMN content_rating text NOT NULL DEFAULT 'all_ages',
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT live_events_content_rating_check CHECK (
        content_rating IN ('all_ages', 'from_7', 'from_13', 'from_16', 'adults')
    );

-- Null is no limit beyond the installation's.
ALTER TABLE public.parental_controls
    ADD COLUMN can_watch boolean NOT NULL DEFAULT true,
    ADD COLUMN streams_max smallint,
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT parental_controls_streams_max_check CHECK (streams_max >= 0);

-- At the same time, and minutes in a month of the family's clock. Null is what the installation gives everybody.
ALTER TABLE public.family_quotas
    ADD COLUMN streams_max smallint,
    ADD COLUMN stream_minutes_monthly integer,
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT family_quotas_streams_check CHECK (streams_max >= 0 AND stream_minutes_monthly >= 0);
