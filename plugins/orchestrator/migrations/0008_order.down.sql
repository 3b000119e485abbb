drop index orchestrator.events_type;
create index events_received_at on orchestrator.events (received_at);
alter table orchestrator.needs drop column heard_xid, drop column heard_number;
alter table orchestrator.events drop column xid;
