DROP VIEW nself.event_lag;
DROP FUNCTION nself.rebase_events();
DROP FUNCTION nself.events_are_foreign();
DROP FUNCTION nself.prune_events(interval, integer);
DROP FUNCTION nself.emit_event(text, text, jsonb, uuid, text, text);
DROP TABLE nself.event_failures;
DROP TABLE nself.event_waiters;
DROP TABLE nself.event_cursors;
DROP TABLE nself.events;
