DROP TABLE public.member_locations;
DROP TABLE public.device_heartbeats;
DROP FUNCTION public.see_device();
