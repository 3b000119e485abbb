drop function jobs.forget_finished, jobs.forget_family, jobs.forget_ended;
drop table jobs.gone_families;
