-- Small values of plugins with a time to live, counters and rate limits, where there is no Redis (`nself.kv/1`).
--
-- Unlogged: nothing in here has to survive a crash, and a rate limit must not cost a write to the log. The space left in
-- the pages lets a counter's next version stand beside the last one, so no index is touched.
CREATE UNLOGGED TABLE nself.kv (
    plugin     text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    value      bytea NOT NULL,
    expires_at timestamptz,
    CONSTRAINT kv_pkey PRIMARY KEY (plugin, key)
) WITH (fillfactor = 70);

-- What the sweep reads.
CREATE INDEX kv_expires_at_idx ON nself.kv (expires_at) WHERE expires_at IS NOT NULL;

COMMENT ON TABLE nself.kv IS 'Key-value store of the plugins without Redis; emptied by a crash of the server';
