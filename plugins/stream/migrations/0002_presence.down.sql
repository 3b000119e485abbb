drop function stream.keep_node(uuid, uuid[]), stream.enter(text, uuid, uuid, text), stream.present(text);
drop table stream.surveys, stream.presence, stream.nodes;
