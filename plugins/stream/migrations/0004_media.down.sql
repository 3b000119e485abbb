drop function stream.prune_media(bigint), stream.end_unfit(boolean), stream.unfit(boolean),
    stream.revive(uuid, bigint, text, bigint, bigint), stream.beat(uuid[], bigint[], text[], bigint[], bigint),
    stream.admit(uuid, uuid, uuid, uuid, text, uuid, text, bytea, jsonb), stream.rivals(uuid, uuid, text, interval),
    stream.end_one(uuid, uuid, text, text), stream.end_session(uuid, text, text), stream.quota_of(uuid, uuid, uuid),
    stream.hold_places(uuid), stream.drop_playback_keys(), stream.turn_playback_key(bytea, double precision, text);
drop view stream.judged;
drop table stream.watched, stream.sessions, stream.playback_keys;
