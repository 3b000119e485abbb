DROP TRIGGER family_quotas_audit ON public.family_quotas;
DROP TRIGGER parental_controls_audit ON public.parental_controls;
DROP TRIGGER family_flags_audit ON public.family_flags;
DROP TRIGGER family_settings_audit ON public.family_settings;
DROP FUNCTION public.audit_setting();
