drop function jobs.write_progress, jobs.write_log, jobs.running_in, jobs.queue_stats, jobs.list;
