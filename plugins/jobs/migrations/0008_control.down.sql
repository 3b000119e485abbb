drop function jobs.reprioritise, jobs.forget_dead, jobs.retry_dead, jobs.dead_ids, jobs.retry, jobs.revive, jobs.apply_cancels, jobs.cancel, jobs.begin_cancel, jobs.state, jobs.find;
drop view jobs.jobs;
