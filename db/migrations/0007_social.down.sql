DROP TABLE public.favourites;
DROP TABLE public.post_reactions;
DROP TABLE public.comments;
