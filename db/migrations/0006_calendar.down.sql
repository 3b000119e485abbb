DROP TABLE public.event_markers;
DROP TABLE public.live_events;
DROP TABLE public.reminders;
DROP TABLE public.event_invites;
DROP TABLE public.calendar_events;
DROP TABLE public.trips;
