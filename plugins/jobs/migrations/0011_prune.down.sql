drop function jobs.prune, jobs.make_partitions;
