-- The tables of 0001 held apart, as all later ones are from their first step on. A step of its own, and the last of the
-- model, because plugins that were written before it work across families and ask for that in their manifest.

SELECT nself.isolate('public.devices');

ALTER TABLE public.families ENABLE ROW LEVEL SECURITY;
CREATE POLICY family_isolation ON public.families FOR ALL TO PUBLIC
    USING (id = (SELECT nself.current_family_id()) OR (SELECT nself.crosses_families()))
    WITH CHECK (id = (SELECT nself.current_family_id()) OR (SELECT nself.crosses_families()));

SELECT nself.isolate('public.family_members');
-- A person sees where else they belong.
CREATE POLICY own_memberships ON public.family_members FOR SELECT TO PUBLIC
    USING (user_id = (SELECT nself.current_user_id()));

-- The people of the session's family, those included who left: what they wrote is still there. A view, because it reads
-- the members by its owner's rights (who may read public.users need not be allowed to), and is part of the query's own
-- plan: a function that does the same is called in each query, for a fifth of what a page of the feed takes. The setting
-- is read once and not for each row.
CREATE VIEW nself.family_people AS
    SELECT m.user_id FROM public.family_members m WHERE m.family_id = (SELECT nself.current_family_id());
GRANT SELECT ON nself.family_people TO PUBLIC;

-- A person is seen by themselves and by the family that is acted for, and changed by themselves. What is asked last is
-- asked seldom: most people whom a query meets are of the family.
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen_people ON public.users FOR SELECT TO PUBLIC
    USING (
        id IN (SELECT p.user_id FROM nself.family_people p)
        OR id = (SELECT nself.current_user_id())
        OR (SELECT nself.crosses_families())
    );
CREATE POLICY own_account ON public.users FOR UPDATE TO PUBLIC
    USING (id = (SELECT nself.current_user_id()) OR (SELECT nself.crosses_families()));
CREATE POLICY new_people ON public.users FOR INSERT TO PUBLIC
    WITH CHECK ((SELECT nself.crosses_families()));
CREATE POLICY erased_people ON public.users FOR DELETE TO PUBLIC
    USING ((SELECT nself.crosses_families()));

ALTER TABLE public.user_app_roles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_roles ON public.user_app_roles FOR SELECT TO PUBLIC
    USING (user_id = (SELECT nself.current_user_id()));
CREATE POLICY all_roles ON public.user_app_roles FOR ALL TO PUBLIC
    USING ((SELECT nself.crosses_families()))
    WITH CHECK ((SELECT nself.crosses_families()));
