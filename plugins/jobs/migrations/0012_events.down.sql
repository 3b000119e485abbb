drop function jobs.tell, jobs.announce;
drop table jobs.untold;
