drop function orchestrator.has_at_most;
