DROP TABLE public.media_tags;
DROP TABLE public.media_variants;
DROP TABLE public.media_items;
DROP TABLE public.albums;
DROP FUNCTION public.count_media();
