drop table stream.staged;
drop function stream.forget_family(uuid), stream.prune(bigint), stream.history(text, bigint, bigint, boolean), stream.news(bigint[], bigint[], bigint),
    stream.locate(text), stream.append(text, jsonb, jsonb, jsonb, text), stream.publish(text, jsonb, jsonb), stream.settle(),
    stream.begin_anew(), stream.epoch_of(text), stream.course(), stream.hear(uuid, bigint), stream.tell(text), stream.wake(), stream.hold(text, text), stream.namespace_of(text), stream.write_namespaces(jsonb),
    stream.refuse(text, text, text);
drop table stream.beginnings, stream.told, stream.pollers, stream.waiters, stream.keys, stream.publications, stream.channels, stream.namespaces;
