drop function scheduler.fire(uuid[], timestamptz[], bigint[], boolean[], text, timestamptz, boolean);
drop function scheduler.act(text, jsonb, timestamptz, timestamptz);
drop function scheduler.utc(timestamptz);
