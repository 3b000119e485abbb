alter table auth.sessions drop column begun_by;
alter table auth.one_time drop column replayed_at;
drop table auth.failed_proofs;
