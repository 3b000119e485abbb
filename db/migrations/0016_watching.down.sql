ALTER TABLE public.family_quotas DROP COLUMN streams_max, DROP COLUMN stream_minutes_monthly;
ALTER TABLE public.parental_controls DROP COLUMN can_watch, DROP COLUMN streams_max;
ALTER TABLE public.live_events DROP COLUMN content_rating;
ALTER TABLE public.media_items DROP COLUMN content_rating;
