drop function jobs.settle, jobs.end_jobs, jobs.close_batch, jobs.leave_batch, jobs.lock_batches, jobs.enqueue_next, jobs.with_error, jobs.complete;
drop type jobs.ending;
