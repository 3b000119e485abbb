-- The audit log: append-only, one hash chain per stream. A stream is a family, or `system` for what belongs to none;
-- one chain for all would make every audited transaction of the house wait for the one before.
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
    CONSTRAINT audit_log_pkey PRIMARY KEY (stream, sequence),
    CONSTRAINT audit_log_action_check CHECK (action ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' AND length(action) <= 200),
    CONSTRAINT audit_log_details_check CHECK (pg_column_size(details) <= 65536)
);

CREATE INDEX audit_log_at_idx ON nself.audit_log (at);

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

-- Every insert goes through the chain, also one that does not come from nself.audit: the trigger decides the place in
-- the stream and the hashes, whatever the statement says. The stream's head stays locked until the end of the
-- transaction, so a transaction that audits into several families should do so in a fixed order.
CREATE FUNCTION nself.chain_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.stream := coalesce(NEW.family_id::text, 'system');
    PERFORM FROM nself.audit_heads h WHERE h.stream = NEW.stream FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO nself.audit_heads (stream, sequence, hash) VALUES (NEW.stream, 0, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (stream) DO NOTHING;
        PERFORM FROM nself.audit_heads h WHERE h.stream = NEW.stream FOR UPDATE;
    END IF;
    -- After the lock: this statement sees what the last holder committed, and earlier rows of this very statement.
    SELECT a.sequence + 1, a.hash INTO NEW.sequence, NEW.previous_hash
    FROM nself.audit_log a WHERE a.stream = NEW.stream ORDER BY a.sequence DESC LIMIT 1;
    NEW.sequence := coalesce(NEW.sequence, 1);
    NEW.previous_hash := coalesce(NEW.previous_hash, decode(repeat('00', 32), 'hex'));
    -- Also after the lock, so that time does not run backwards within a stream.
    NEW.at := clock_timestamp();
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
        WHERE a.stream = NEW.stream ORDER BY a.sequence DESC LIMIT 1
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
CREATE TRIGGER audit_heads_no_delete BEFORE DELETE ON nself.audit_heads
    FOR EACH ROW EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_heads_no_truncate BEFORE TRUNCATE ON nself.audit_heads
    FOR EACH STATEMENT EXECUTE FUNCTION nself.refuse_audit_change();

-- ALWAYS: otherwise `SET session_replication_role = replica` switches them off without leaving a trace.
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_chain;
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_head;
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_no_change;
ALTER TABLE nself.audit_log ENABLE ALWAYS TRIGGER audit_log_no_truncate;
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

-- The first broken place of each stream, nothing when all chains are whole. It names an edited, a missing, an inserted
-- and a cut-off row. Who can rewrite a whole chain and its head can hide from it; a copy of the heads outside shows that.
CREATE FUNCTION nself.verify_audit(only_stream text DEFAULT NULL)
    RETURNS TABLE (stream text, sequence bigint, problem text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH entries AS (
        SELECT
            a.stream, a.sequence, a.previous_hash, a.hash,
            nself.audit_hash(a) AS true_hash,
            row_number() OVER chain AS place,
            lag(a.hash, 1, decode(repeat('00', 32), 'hex')) OVER chain AS true_previous
        FROM nself.audit_log a
        WHERE only_stream IS NULL OR a.stream = only_stream
        WINDOW chain AS (PARTITION BY a.stream ORDER BY a.sequence)
    ), broken AS (
        SELECT
            e.stream, e.sequence,
            CASE
                WHEN e.sequence <> e.place THEN 'the row before it is missing'
                WHEN e.hash <> e.true_hash THEN 'the row was changed'
                ELSE 'it does not continue the row before it'
            END AS problem
        FROM entries e
        WHERE e.sequence <> e.place OR e.hash <> e.true_hash OR e.previous_hash <> e.true_previous
        UNION ALL
        SELECT
            coalesce(h.stream, ends.stream), coalesce(ends.sequence, 0) + 1,
            CASE
                WHEN h.stream IS NULL THEN 'the head of the stream is missing'
                WHEN coalesce(ends.sequence, 0) < h.sequence THEN 'the last rows are missing'
                ELSE 'the head does not match the last row'
            END
        FROM nself.audit_heads h
        FULL JOIN (
            SELECT DISTINCT ON (e.stream) e.stream, e.sequence, e.hash
            FROM entries e ORDER BY e.stream, e.sequence DESC
        ) AS ends ON ends.stream = h.stream
        WHERE (only_stream IS NULL OR coalesce(h.stream, ends.stream) = only_stream)
            AND (h.sequence IS DISTINCT FROM ends.sequence OR h.hash IS DISTINCT FROM ends.hash)
    )
    SELECT DISTINCT ON (b.stream) b.stream, b.sequence, b.problem
    FROM broken b
    ORDER BY b.stream, b.sequence
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
