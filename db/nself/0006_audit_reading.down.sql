DROP FUNCTION nself.read_audit(text, text, uuid, timestamptz, uuid, integer);
DROP INDEX nself.audit_log_target_idx;
DROP INDEX nself.audit_log_actor_idx;
