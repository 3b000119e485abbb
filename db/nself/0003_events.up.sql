-- The event log. An event is a row written in the transaction of its cause, so it exists exactly when its cause does.
--
-- Reading order is (xid, position), and a reader takes only rows whose xid is below pg_snapshot_xmin: every transaction
-- below it has ended, so nothing can appear behind a cursor later. `position` alone would not do: numbers are drawn
-- before commit, and a long transaction commits small numbers late.
CREATE TABLE nself.events (
    id uuid NOT NULL DEFAULT nself.uuid_v7(),
    position bigint GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    time timestamptz NOT NULL DEFAULT clock_timestamp(),
    type text NOT NULL,
    source text NOT NULL,
    subject text,
    family_id uuid,
    data jsonb,
    data_schema text,
    trace_parent text,
    CONSTRAINT events_pkey PRIMARY KEY (id),
    CONSTRAINT events_type_check CHECK (type ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$' AND length(type) <= 200),
    CONSTRAINT events_subject_check CHECK (length(subject) <= 500),
    -- A fact, not a file: bigger things are stored where they belong and named by the subject.
    CONSTRAINT events_data_check CHECK (pg_column_size(data) <= 262144)
);

CREATE INDEX events_order_idx ON nself.events (xid, position);

-- One durable cursor per subscriber: the last row that it is done with. lease_token is the fence: it grows with each
-- holder, and everything that a holder writes names its token.
CREATE TABLE nself.event_cursors (
    subscriber text NOT NULL,
    types text[] NOT NULL,
    xid xid8 NOT NULL,
    position bigint NOT NULL,
    lease_holder text,
    lease_token bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    -- Failed deliveries of the event that comes next, and why the last one failed.
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_cursors_pkey PRIMARY KEY (subscriber)
) WITH (fillfactor = 50);

-- Readers that found nothing and want to be woken. A writer notifies only those: NOTIFY takes a lock of the whole
-- cluster over the commit's fsync, so it must not happen while readers are busy anyway. Unlogged: a mark is worth
-- nothing after a crash, and `until` ends the mark of a reader that died.
CREATE UNLOGGED TABLE nself.event_waiters (
    subscriber text NOT NULL,
    patterns text[] NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT event_waiters_pkey PRIMARY KEY (subscriber)
);

-- Events that a subscriber gave up on, with a copy, because the log is pruned.
CREATE TABLE nself.event_failures (
    subscriber text NOT NULL,
    event_id uuid NOT NULL,
    event jsonb NOT NULL,
    attempts integer NOT NULL,
    error text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Set by who wants it delivered once more; the reader does that before anything else, out of order.
    retry_requested_at timestamptz,
    CONSTRAINT event_failures_pkey PRIMARY KEY (subscriber, event_id)
);

CREATE INDEX event_failures_failed_at_idx ON nself.event_failures (failed_at);
CREATE INDEX event_failures_retry_idx ON nself.event_failures (subscriber) WHERE retry_requested_at IS NOT NULL;

-- Writes an event in the caller's transaction and returns its id. The source is the caller's login, not an argument;
-- a plugin may emit only the types that the operator granted.
CREATE FUNCTION nself.emit_event(
    type text,
    subject text,
    data jsonb,
    family_id uuid DEFAULT NULL,
    data_schema text DEFAULT NULL,
    trace_parent text DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source text := nself.caller();
    plugin text := substring(source FROM '^/plugins/(.*)$');
    event_id uuid;
BEGIN
    IF plugin IS NOT NULL AND NOT EXISTS (
        SELECT FROM nself.plugins p, jsonb_array_elements_text(p.granted -> 'emits') AS granted (pattern)
        WHERE p.id = plugin AND emit_event.type LIKE nself.like_pattern(granted.pattern)
    ) THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('plugin "%s" may not emit "%s"', plugin, emit_event.type),
            HINT = 'add the type to `emits` in the plugin''s manifest, and accept it when the plugin is enabled';
    END IF;

    INSERT INTO nself.events AS e (type, source, subject, family_id, data, data_schema, trace_parent)
    VALUES (
        emit_event.type, source, emit_event.subject, emit_event.family_id, emit_event.data,
        emit_event.data_schema,
        coalesce(emit_event.trace_parent, nullif(current_setting('nself.trace_parent', true), ''))
    )
    RETURNING e.id INTO event_id;

    -- A statement of its own, after the insert drew the transaction's number: a reader that marked itself before that
    -- is seen here, and a reader that marks itself later waits for this transaction's number to end (see the reader).
    PERFORM pg_notify('nself_events', w.subscriber)
    FROM nself.event_waiters w
    WHERE w.until > clock_timestamp() AND emit_event.type LIKE ANY (w.patterns);

    RETURN event_id;
END
$$;

-- Asks for one more delivery of what a subscriber gave up on: of one event, or of all. Returns how many.
CREATE FUNCTION nself.retry_failures(subscriber text, event_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    requested bigint;
BEGIN
    UPDATE nself.event_failures f SET retry_requested_at = clock_timestamp()
    WHERE f.subscriber = retry_failures.subscriber
        AND (retry_failures.event_id IS NULL OR f.event_id = retry_failures.event_id);
    GET DIAGNOSTICS requested = ROW_COUNT;
    PERFORM pg_notify('nself_events', retry_failures.subscriber) WHERE requested > 0;
    RETURN requested;
END
$$;

-- Deletes at most rows_max events that are older than the limit, oldest first, and never one that a subscriber still
-- has to see. Returns how many; call again until it returns less than rows_max.
CREATE FUNCTION nself.prune_events(older_than interval, rows_max integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pruned bigint;
BEGIN
    WITH slowest AS MATERIALIZED (
        SELECT c.xid, c.position FROM nself.event_cursors c ORDER BY c.xid, c.position LIMIT 1
    ), pruned_ids AS MATERIALIZED (
        SELECT e.id FROM nself.events e
        WHERE e.time < clock_timestamp() - older_than
            AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
            AND NOT EXISTS (SELECT FROM slowest s WHERE (e.xid, e.position) > (s.xid, s.position))
        ORDER BY e.xid, e.position
        LIMIT rows_max
    )
    DELETE FROM nself.events e USING pruned_ids p WHERE e.id = p.id;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;

-- Whether rows carry transaction numbers that this cluster has not drawn yet. No visible row can, unless it came from
-- another cluster by a dump. One statement, because the bound and the rows must come from one snapshot.
CREATE FUNCTION nself.events_are_foreign() RETURNS boolean
    LANGUAGE sql VOLATILE
    RETURN EXISTS (
        SELECT FROM nself.events e
        WHERE e.xid >= pg_snapshot_xmax(pg_current_snapshot())
            AND e.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
    ) OR EXISTS (
        SELECT FROM nself.event_cursors c WHERE c.xid > pg_snapshot_xmax(pg_current_snapshot())
    );

-- Repairs the order after the database was restored from a dump into a cluster whose transaction numbers are smaller:
-- its rows would be invisible, and new rows would be behind the cursors. All rows get one number, so `position` orders
-- them; a cursor goes back to the first row that it may not have seen (a repeat is allowed, a gap is not). Every reader
-- calls it before it begins. Returns whether it had to.
CREATE FUNCTION nself.rebase_events() RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT nself.events_are_foreign() THEN
        RETURN false;
    END IF;
    LOCK TABLE nself.event_cursors, nself.events IN EXCLUSIVE MODE;
    -- Whoever held the lock before us has done it, and readers may have moved on since.
    IF NOT nself.events_are_foreign() THEN
        RETURN false;
    END IF;
    UPDATE nself.event_cursors c
    SET xid = '3',
        position = coalesce(
            (
                SELECT min(e.position) - 1 FROM nself.events e
                WHERE (e.xid, e.position) > (c.xid, c.position) OR e.position > c.position
            ),
            (SELECT max(e.position) FROM nself.events e),
            0
        );
    UPDATE nself.events SET xid = '3' WHERE xid <> '3';
    RETURN true;
END
$$;

-- How far each subscriber is behind, for `nself status` and for people.
CREATE VIEW nself.event_lag AS
SELECT
    c.subscriber,
    c.types,
    c.lease_holder,
    c.lease_until,
    c.attempts,
    c.last_error,
    behind.waiting,
    behind.oldest_waiting_at,
    (SELECT count(*) FROM nself.event_failures f WHERE f.subscriber = c.subscriber) AS failures
FROM nself.event_cursors c
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting, min(e.time) AS oldest_waiting_at
    FROM nself.events e
    WHERE (e.xid, e.position) > (c.xid, c.position)
        AND e.type LIKE ANY (ARRAY(SELECT nself.like_pattern(t) FROM unnest(c.types) AS t))
) AS behind;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
