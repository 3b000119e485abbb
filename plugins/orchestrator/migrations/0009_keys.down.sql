drop index orchestrator.instances_by_key;
