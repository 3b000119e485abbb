-- How many runs of a family may be open is counted where they are made, by one transaction of the family after the other: what two that
-- cannot see each other's runs count is less than there is.

-- Whether a family has at most so many runs that have not ended, those of this transaction with them. Until this transaction ends nobody
-- else counts those of this family, so this is asked for as late as possible.
create function orchestrator.has_at_most(family uuid, most integer) returns boolean
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('orchestrator.family ' || family, 0));
    -- A statement of its own: it sees what was committed while this one waited.
    return (
        select count(*) <= most
        from (
            select from orchestrator.instances i where i.family_id = family and i.ended_at is null limit most::bigint + 1
        ) o
    );
end
$$;
