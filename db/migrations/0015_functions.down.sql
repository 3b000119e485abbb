DROP FUNCTION public.posts_reaction_count(public.posts);
DROP FUNCTION public.family_members_display_name(public.family_members);
DROP FUNCTION public.search(text, json);
