drop function stream.look_at_sessions;
