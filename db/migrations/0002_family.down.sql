DROP TRIGGER families_furnish ON public.families;
DROP TABLE public.family_usage;
DROP TABLE public.family_quotas;
DROP TABLE public.parental_controls;
DROP TABLE public.relationships;
DROP TABLE public.family_flags;
DROP TABLE public.family_settings;
DROP FUNCTION public.furnish_family();
