DROP TABLE public.recipes;
