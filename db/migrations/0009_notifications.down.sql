DROP TABLE public.notification_preferences;
