drop table jobs.kinds;
drop table jobs.queues;
