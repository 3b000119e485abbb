drop table scheduler.fires;
drop table scheduler.schedules;
