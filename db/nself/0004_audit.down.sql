DROP FUNCTION nself.audit(text, text, jsonb, uuid, text);
DROP FUNCTION nself.audit_hash(nself.audit_log);
DROP TABLE nself.audit_log;
DROP TABLE nself.audit_heads;
DROP FUNCTION nself.advance_audit_head();
DROP FUNCTION nself.chain_audit();
DROP FUNCTION nself.system_stream(text);
DROP FUNCTION nself.refuse_audit_change();
