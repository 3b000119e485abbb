drop function jobs.append_fetched_logs, jobs.append_logs, jobs.settle_fetched, jobs.beat, jobs.fetch;
