DROP TABLE public.devices;
DROP TABLE public.family_members;
DROP TABLE public.families;
DROP TABLE public.user_app_roles;
DROP TABLE public.apps;
DROP TABLE public.users;
DROP FUNCTION public.check_family_has_owner();
DROP FUNCTION public.touch_updated_at();
