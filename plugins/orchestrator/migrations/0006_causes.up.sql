-- Runs that start one another by events are counted, so that a circle of them comes to an end.

-- How many runs stand behind it, each started by the one before.
alter table orchestrator.events add column depth integer not null default 0;
