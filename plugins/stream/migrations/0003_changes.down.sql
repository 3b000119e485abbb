-- Takes its triggers along: what would they tell.
drop function stream.row_changed() cascade;
drop function stream.stop_publishing_changes(regclass), stream.publish_changes(regclass),
    stream.tell_row(stream.tables, jsonb, jsonb), stream.tell_change(stream.tables, text, text, jsonb),
    stream.readers(stream.tables, jsonb), stream.is_for_channel(stream.tables, jsonb), stream.audience_of(stream.tables, jsonb),
    stream.as_id(text), stream.is_for_all(jsonb, text[]), stream.write_tables(jsonb);
drop table stream.tables;
