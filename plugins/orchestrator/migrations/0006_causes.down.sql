alter table orchestrator.events drop column depth;
