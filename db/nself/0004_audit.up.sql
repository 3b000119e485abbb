-- The audit log: append-only, one hash chain per stream. A stream is a family, or one of sixteen of the house for what
-- belongs to none, `system-0` to `system-f`, by who did it: one chain for all would make every audited transaction wait
-- for the one before. Kept by the month, so that what is old enough can be put away whole (0008_audit_months).
CREATE TABLE nself.audit_log (
    stream text NOT NULL,
    sequence bigint NOT NULL,
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    source text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text,
    details jsonb NOT NULL DEFAULT '{}',
    family_id uuid,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (stream, sequence, at),
    CONSTRAINT audit_log_action_check CHECK (action ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' AND length(action) <= 200),
    CONSTRAINT audit_log_details_check CHECK (pg_column_size(details) <= 65536)
) PARTITION BY RANGE (at);

CREATE INDEX audit_log_at_idx ON nself.audit_log (at);

-- Takes what no month's partition is there for, so that nothing is refused for want of one.
CREATE TABLE nself.audit_log_rest PARTITION OF nself.audit_log DEFAULT;

-- The end of each chain: the row that an appender locks, and the witness for entries that were cut off the end. Written
-- once per transaction, when it commits: a row that changes with each entry grows a chain of dead versions within a
-- long transaction, and every append would walk it.
CREATE TABLE nself.audit_heads (
    stream text NOT NULL,
    sequence bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_heads_pkey PRIMARY KEY (stream)
) WITH (fillfactor = 50);

-- The hash of a row. A JSON array is an unambiguous way to write fields in a line: no value can imitate a border.
CREATE FUNCTION nself.audit_hash(entry nself.audit_log) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256(convert_to(
        jsonb_build_array(
            entry.stream, entry.sequence, entry.id,
            to_char(entry.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
            entry.source, entry.actor, entry.action, entry.target, entry.details, entry.family_id,
            encode(entry.previous_hash, 'hex')
        )::text,
        'UTF8'
    ));

-- The stream of what belongs to no family.
CREATE FUNCTION nself.system_stream(actor text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'system-' || to_hex(get_byte(sha256(convert_to(actor, 'UTF8')), 0) & 15);

-- Every insert goes through the chain, also one that does not come from nself.audit: the trigger decides the place in
-- the stream and the hashes, whatever the statement says. The stream's head stays locked until the end of the
-- transaction, so a transaction that audits into several families should do so in a fixed order.
CREATE FUNCTION nself.chain_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head nself.audit_heads;
    clock timestamptz;
BEGIN
    NEW.stream := coalesce(NEW.family_id::text, nself.system_stream(NEW.actor));
    SELECT * INTO head FROM nself.audit_heads h WHERE h.stream = NEW.stream FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO nself.audit_heads (stream, sequence, hash) VALUES (NEW.stream, 0, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (stream) DO NOTHING;
        SELECT * INTO head FROM nself.audit_heads h WHERE h.stream = NEW.stream FOR UPDATE;
    END IF;
    -- The head is what the last holder committed; behind it stand only entries of this very transaction.
    SELECT a.sequence + 1, a.hash INTO NEW.sequence, NEW.previous_hash
    FROM nself.audit_log a
    WHERE a.stream = NEW.stream AND a.sequence > head.sequence AND a.at >= transaction_timestamp() - interval '1 day'
    ORDER BY a.sequence DESC LIMIT 1;
    NEW.sequence := coalesce(NEW.sequence, head.sequence + 1);
    NEW.previous_hash := coalesce(NEW.previous_hash, head.hash);
    -- After the lock, so that time does not run backwards within a stream; but an entry that waited over the end of a
    -- month stays in the month that its place was chosen for.
    clock := clock_timestamp();
    IF date_trunc('month', NEW.at, 'UTC') = date_trunc('month', clock, 'UTC') THEN
        NEW.at := clock;
    ELSIF NEW.at NOT BETWEEN transaction_timestamp() AND clock THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('an entry of the audit log is written now, not at %s', NEW.at),
            HINT = 'leave out the column at';
    END IF;
    NEW.hash := nself.audit_hash(NEW);
    RETURN NEW;
END
$$;

-- Runs at commit, when the caller's rights are no longer those of nself.audit: hence its own.
CREATE FUNCTION nself.advance_audit_head() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE nself.audit_heads h SET sequence = last.sequence, hash = last.hash
    FROM (
        SELECT a.sequence, a.hash FROM nself.audit_log a
        WHERE a.stream = NEW.stream AND a.sequence >= NEW.sequence AND a.at >= NEW.at - interval '1 day'
        ORDER BY a.sequence DESC LIMIT 1
    ) AS last
    WHERE h.stream = NEW.stream AND h.sequence < NEW.sequence;
    RETURN NULL;
END
$$;

CREATE FUNCTION nself.refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE insufficient_privilege USING
        MESSAGE = format('the audit log is append-only: %s refused', lower(TG_OP)),
        HINT = 'write a new entry that corrects the old one';
END
$$;

CREATE TRIGGER audit_log_chain BEFORE INSERT ON nself.audit_log
    FOR EACH ROW EXECUTE FUNCTION nself.chain_audit();
CREATE CONSTRAINT TRIGGER audit_log_head AFTER INSERT ON nself.audit_log
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nself.advance_audit_head();
CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON nself.audit_log
    FOR EACH ROW EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON nself.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON nself.audit_log_rest
    FOR EACH STATEMENT EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_heads_no_delete BEFORE DELETE ON nself.audit_heads
    FOR EACH ROW EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_heads_no_truncate BEFORE TRUNCATE ON nself.audit_heads
    FOR EACH STATEMENT EXECUTE FUNCTION nself.refuse_audit_change();

-- ALWAYS: otherwise `SET session_replication_role = replica` switches them off without leaving a trace.
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_chain;
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_head;
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_no_change;
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_no_truncate;
ALTER TABLE nself.audit_log_rest ENABLE ALWAYS TRIGGER audit_log_no_truncate;
ALTER TABLE nself.audit_heads ENABLE ALWAYS TRIGGER audit_heads_no_delete;
ALTER TABLE nself.audit_heads ENABLE ALWAYS TRIGGER audit_heads_no_truncate;

-- Appends an entry in the caller's transaction and returns its id. The source is the caller's login; the actor is who
-- asked for it: the session's user when nothing is said.
CREATE FUNCTION nself.audit(
    action text,
    target text,
    details jsonb DEFAULT '{}',
    family_id uuid DEFAULT NULL,
    actor text DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source text := nself.caller();
    entry_id uuid;
BEGIN
    INSERT INTO nself.audit_log AS a (source, actor, action, target, details, family_id)
    VALUES (
        source,
        coalesce(audit.actor, nself.current_user_id()::text, source),
        audit.action, audit.target, coalesce(audit.details, '{}'), audit.family_id
    )
    RETURNING a.id INTO entry_id;
    RETURN entry_id;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
