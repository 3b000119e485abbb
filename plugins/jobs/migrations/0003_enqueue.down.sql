drop trigger later_wake on jobs.later;
drop trigger ready_wake on jobs.ready;
drop function jobs.enqueue_many(jsonb), jobs.enqueue_many(text, jsonb[], jsonb), jobs.submit_many, jobs.enqueue, jobs.retry_delay,
    jobs.take_ready, jobs.change_payload, jobs.take_unique, jobs.submit, jobs.moment, jobs.span, jobs.refuse, jobs.queue_id, jobs.wake;
