DROP TABLE public.post_audiences;
DROP TABLE public.post_assets;
DROP TABLE public.posts;
DROP FUNCTION public.count_posts();
