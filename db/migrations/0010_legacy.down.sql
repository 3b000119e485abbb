DROP TABLE public.inheritance_scenarios;
DROP TABLE public.legacy_recipients;
DROP TABLE public.legacy_items;
DROP TABLE public.legacy_vaults;
DROP FUNCTION public.keep_sealed();
DROP FUNCTION public.keep_vault_order();
