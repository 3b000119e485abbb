alter table orchestrator.device_commands drop column instance_id, drop column need;
drop table orchestrator.deliveries;
drop table orchestrator.outcomes;
drop table orchestrator.needs;
drop table orchestrator.history;
drop table orchestrator.instances;
drop table orchestrator.events;
drop table orchestrator.definitions;
