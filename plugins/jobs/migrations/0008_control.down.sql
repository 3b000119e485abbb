drop function jobs.reprioritise, jobs.forget_dead, jobs.retry_dead, jobs.dead_ids, jobs.retry, jobs.revive, jobs.cancel, jobs.state, jobs.find;
drop view jobs.jobs;
