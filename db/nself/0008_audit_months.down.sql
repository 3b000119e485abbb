DROP FUNCTION nself.verify_audit(text);
DROP FUNCTION nself.drop_audit_month(date);
DROP FUNCTION nself.seal_audit();
DROP FUNCTION nself.audit_digest(date);
DROP FUNCTION nself.prepare_audit(integer);
DROP FUNCTION nself.audit_partition(date);
DROP TABLE nself.audit_anchors;
DROP TABLE nself.audit_seals;
