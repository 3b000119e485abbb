drop function jobs.cancel_batch, jobs.seal_batch, jobs.open_batch, jobs.resume_queue, jobs.pause_queue, jobs.set_queue, jobs.lock_queue,
    jobs.tell_hosts;
