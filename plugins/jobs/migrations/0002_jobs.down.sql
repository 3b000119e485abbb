drop table jobs.sleepers, jobs.rates, jobs.progress, jobs.logs, jobs.batch_jobs, jobs.batches, jobs.uniques, jobs.dead, jobs.finished, jobs.cancels, jobs.leases, jobs.hosts,
    jobs.payloads, jobs.suspects, jobs.freed, jobs.waiting, jobs.later, jobs.ready;
drop function jobs.created_at, jobs.new_id;
drop sequence jobs.numbers;
