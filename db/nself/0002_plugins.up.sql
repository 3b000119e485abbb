-- The plugins that this database knows: what is stored about them, not what runs in one process right now.
CREATE TABLE nself.plugins (
    id text NOT NULL,
    version text NOT NULL,
    -- Of the file that was accepted, lower-case hex.
    sha256 text NOT NULL,
    state text NOT NULL DEFAULT 'discovered',
    enabled boolean NOT NULL DEFAULT false,
    -- The part of the manifest's `requires` that the operator accepted, in the same shape. `emits` is enforced by
    -- nself.emit_event, the rest by the plugin's role and by the host.
    granted jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT plugins_pkey PRIMARY KEY (id),
    CONSTRAINT plugins_id_check CHECK (id ~ '^[a-z][a-z0-9]*([_-][a-z0-9]+)*$'),
    CONSTRAINT plugins_sha256_check CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT plugins_granted_check CHECK (jsonb_typeof(granted) = 'object'),
    CONSTRAINT plugins_state_check CHECK (
        state IN ('discovered', 'loaded', 'migrated', 'started', 'draining', 'stopped', 'failed')
    )
);
