-- The audit log by the month: partitions ahead of time, seals on the months that are over, and the way out for those that
-- are old enough. A seal says what a month held; it is itself an entry of the chain, so a month that has been put away can
-- still be proved by its archive.

-- What a month held when it was over.
CREATE TABLE nself.audit_seals (
    month date NOT NULL,
    entries bigint NOT NULL,
    -- SHA-256 over the hashes of its entries in the order of stream and sequence.
    digest bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_seals_pkey PRIMARY KEY (month),
    CONSTRAINT audit_seals_month_check CHECK (extract(day FROM month) = 1)
);

-- Where the chain of a stream goes on from, once its first months were put away.
CREATE TABLE nself.audit_anchors (
    stream text NOT NULL,
    sequence bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_anchors_pkey PRIMARY KEY (stream)
);

CREATE FUNCTION nself.audit_partition(month date) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'audit_log_' || to_char(month, 'YYYY_MM');

-- Makes the partitions of this month and the next ones. A month that has entries in the default partition already keeps
-- them there: they are whole, but that month can be neither sealed nor put away.
CREATE FUNCTION nself.prepare_audit(months integer DEFAULT 3) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first date;
    name text;
    made integer := 0;
BEGIN
    FOR first IN
        SELECT (date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + make_interval(months => n))::date
        FROM generate_series(0, months - 1) n
    LOOP
        name := nself.audit_partition(first);
        CONTINUE WHEN to_regclass('nself.' || name) IS NOT NULL OR EXISTS (
            SELECT FROM nself.audit_log_rest a
            WHERE a.at >= first AT TIME ZONE 'UTC' AND a.at < (first + interval '1 month') AT TIME ZONE 'UTC'
        );
        EXECUTE format(
            'CREATE TABLE nself.%I PARTITION OF nself.audit_log FOR VALUES FROM (%L) TO (%L)',
            name, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC'
        );
        -- The triggers of rows are passed on to partitions, those of statements are not.
        EXECUTE format(
            'CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON nself.%I
             FOR EACH STATEMENT EXECUTE FUNCTION nself.refuse_audit_change()', name
        );
        EXECUTE format('ALTER TABLE nself.%I ENABLE ALWAYS TRIGGER audit_log_no_truncate', name);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

CREATE FUNCTION nself.audit_digest(month date, OUT entries bigint, OUT digest bytea)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*), sha256(coalesce(string_agg(a.hash, ''::bytea ORDER BY a.stream, a.sequence), ''))
    FROM nself.audit_log a
    WHERE a.at >= month::timestamp AT TIME ZONE 'UTC' AND a.at < (month + interval '1 month') AT TIME ZONE 'UTC'
$$;

-- Seals the months that are over and have no seal yet, the oldest first. Nothing to do costs one look at the catalogue.
CREATE FUNCTION nself.seal_audit() RETURNS SETOF nself.audit_seals
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seal nself.audit_seals;
    relation text;
BEGIN
    FOR seal.month, relation IN
        SELECT to_date(right(c.relname, 7), 'YYYY_MM'), c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'nself.audit_log'::regclass AND c.relname ~ '^audit_log_[0-9]{4}_[0-9]{2}$'
            AND to_date(right(c.relname, 7), 'YYYY_MM') < date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')
            AND NOT EXISTS (SELECT FROM nself.audit_seals s WHERE s.month = to_date(right(c.relname, 7), 'YYYY_MM'))
        ORDER BY 1
    LOOP
        -- Whoever still writes into that month ends first.
        EXECUTE format('LOCK TABLE nself.%I IN SHARE MODE', relation);
        SELECT d.entries, d.digest INTO seal.entries, seal.digest FROM nself.audit_digest(seal.month) d;
        INSERT INTO nself.audit_seals AS s (month, entries, digest) VALUES (seal.month, seal.entries, seal.digest)
        RETURNING s.* INTO seal;
        PERFORM nself.audit('audit.sealed', to_char(seal.month, 'YYYY-MM'), jsonb_build_object(
            'entries', seal.entries, 'digest', encode(seal.digest, 'hex')), NULL, 'nself');
        RETURN NEXT seal;
    END LOOP;
END
$$;

-- Removes a sealed month, the oldest that is left; its archive is the caller's business. What comes after it goes on from
-- the anchors.
CREATE FUNCTION nself.drop_audit_month(month date) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    seal nself.audit_seals;
    entries bigint;
    digest bytea;
    oldest date;
BEGIN
    SELECT * INTO seal FROM nself.audit_seals s WHERE s.month = month;
    IF NOT FOUND THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the month %s of the audit log is not sealed', to_char(month, 'YYYY-MM')),
            HINT = 'a month is sealed by the host after it is over';
    END IF;
    SELECT min(to_date(right(c.relname, 7), 'YYYY_MM')) INTO oldest
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'nself.audit_log'::regclass AND c.relname ~ '^audit_log_[0-9]{4}_[0-9]{2}$';
    IF oldest IS DISTINCT FROM month THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('%s is not the oldest month of the audit log', to_char(month, 'YYYY-MM')),
            HINT = format('the oldest is %s', to_char(oldest, 'YYYY-MM'));
    END IF;
    SELECT d.entries, d.digest INTO entries, digest FROM nself.audit_digest(month) d;
    IF (entries, digest) IS DISTINCT FROM (seal.entries, seal.digest) THEN
        RAISE data_corrupted USING
            MESSAGE = format('the month %s of the audit log is not what was sealed', to_char(month, 'YYYY-MM')),
            HINT = 'nself audit verify names the place';
    END IF;
    INSERT INTO nself.audit_anchors AS n (stream, sequence, hash)
    SELECT DISTINCT ON (a.stream) a.stream, a.sequence, a.hash
    FROM nself.audit_log a
    WHERE a.at >= month::timestamp AT TIME ZONE 'UTC' AND a.at < (month + interval '1 month') AT TIME ZONE 'UTC'
    ORDER BY a.stream, a.sequence DESC
    ON CONFLICT (stream) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
    WHERE n.sequence < excluded.sequence;
    EXECUTE format('DROP TABLE nself.%I', nself.audit_partition(month));
    PERFORM nself.audit('audit.dropped', to_char(month, 'YYYY-MM'), jsonb_build_object(
        'entries', seal.entries, 'digest', encode(seal.digest, 'hex')), NULL, 'nself');
    RETURN seal.entries;
END
$$;

-- The first broken place of each stream, and the seals that do not fit; nothing when all is whole. It names an edited, a
-- missing, an inserted and a cut-off row. Who can rewrite a whole chain, its head and its seals can hide from it; the heads
-- kept elsewhere show that.
CREATE FUNCTION nself.verify_audit(only_stream text DEFAULT NULL)
    RETURNS TABLE (stream text, sequence bigint, problem text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH entries AS (
        SELECT
            a.stream, a.sequence, a.previous_hash, a.hash,
            nself.audit_hash(a) AS true_hash,
            coalesce(n.sequence, 0) + row_number() OVER chain AS place,
            lag(a.hash, 1, coalesce(n.hash, decode(repeat('00', 32), 'hex'))) OVER chain AS true_previous
        FROM nself.audit_log a LEFT JOIN nself.audit_anchors n ON n.stream = a.stream
        WHERE only_stream IS NULL OR a.stream = only_stream
        WINDOW chain AS (PARTITION BY a.stream ORDER BY a.sequence)
    ), ends AS (
        SELECT DISTINCT ON (e.stream) e.stream, e.sequence, e.hash
        FROM (
            SELECT e.stream, e.sequence, e.hash FROM entries e
            UNION ALL
            SELECT n.stream, n.sequence, n.hash FROM nself.audit_anchors n
            WHERE only_stream IS NULL OR n.stream = only_stream
        ) e
        ORDER BY e.stream, e.sequence DESC
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
        FULL JOIN ends ON ends.stream = h.stream
        WHERE (only_stream IS NULL OR coalesce(h.stream, ends.stream) = only_stream)
            AND (h.sequence IS DISTINCT FROM ends.sequence OR h.hash IS DISTINCT FROM ends.hash)
    ), sealed AS (
        SELECT a.stream, a.sequence, to_date(a.target, 'YYYY-MM') AS month, a.details
        FROM nself.audit_log a
        WHERE a.stream = nself.system_stream('nself') AND a.action = 'audit.sealed' AND a.source = '/nself'
    ), seals AS (
        SELECT
            p.stream, p.sequence,
            'the seal of ' || to_char(p.month, 'YYYY-MM') || ' was changed' AS problem
        FROM sealed p LEFT JOIN nself.audit_seals s ON s.month = p.month
        WHERE s.entries::text IS DISTINCT FROM p.details ->> 'entries'
            OR encode(s.digest, 'hex') IS DISTINCT FROM p.details ->> 'digest'
        UNION ALL
        SELECT p.stream, p.sequence, 'the month ' || to_char(p.month, 'YYYY-MM') || ' is not what was sealed'
        FROM sealed p, LATERAL nself.audit_digest(p.month) d
        WHERE to_regclass('nself.' || nself.audit_partition(p.month)) IS NOT NULL
            AND (d.entries::text, encode(d.digest, 'hex'))
                IS DISTINCT FROM (p.details ->> 'entries', p.details ->> 'digest')
    )
    (
        SELECT DISTINCT ON (b.stream) b.stream, b.sequence, b.problem
        FROM broken b
        ORDER BY b.stream, b.sequence
    )
    UNION ALL
    SELECT s.stream, s.sequence, s.problem FROM seals s WHERE only_stream IS NULL
$$;

CREATE TRIGGER audit_seals_no_change BEFORE UPDATE OR DELETE ON nself.audit_seals
    FOR EACH ROW EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_seals_no_truncate BEFORE TRUNCATE ON nself.audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION nself.refuse_audit_change();
CREATE TRIGGER audit_anchors_no_delete BEFORE DELETE ON nself.audit_anchors
    FOR EACH ROW EXECUTE FUNCTION nself.refuse_audit_change();
ALTER TABLE nself.audit_seals ENABLE ALWAYS TRIGGER audit_seals_no_change;
ALTER TABLE nself.audit_seals ENABLE ALWAYS TRIGGER audit_seals_no_truncate;
ALTER TABLE nself.audit_anchors ENABLE ALWAYS TRIGGER audit_anchors_no_delete;

SELECT nself.prepare_audit();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
