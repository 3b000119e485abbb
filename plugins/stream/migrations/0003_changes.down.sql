-- Takes its triggers along: what would they tell.
drop function stream.row_changed() cascade;
drop function stream.stop_publishing_changes(regclass), stream.publish_changes(regclass),
    stream.tell_change(stream.tables, text, jsonb), stream.is_for_all(jsonb, text[]), stream.write_tables(jsonb);
drop table stream.tables;
