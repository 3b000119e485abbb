drop table orchestrator.gatherings;
drop table orchestrator.schedules;
