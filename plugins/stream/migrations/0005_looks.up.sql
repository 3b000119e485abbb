-- One look at the sessions of all families, in one call: what may not go on is ended, those that ended in so many seconds are told,
-- and whether any is open. Where none is nothing can end, and nobody has to look again before somebody is admitted.
create function stream.look_at_sessions(
    is_with_quotas boolean, seconds double precision, out is_open boolean, out ids uuid[], out reasons text[]
)
    language plpgsql volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform stream.end_unfit(is_with_quotas);
    -- Before the others are read: what ends between the two is then among them.
    is_open := exists (select from stream.sessions s where s.ended_at is null);
    select coalesce(array_agg(s.id order by s.id), '{}'), coalesce(array_agg(s.end_reason order by s.id), '{}') into ids, reasons
    from stream.sessions s where s.ended_at > clock_timestamp() - make_interval(secs => seconds);
end
$$;
