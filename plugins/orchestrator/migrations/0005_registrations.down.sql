drop function orchestrator.registration;
drop function orchestrator.register;
drop function orchestrator.refuse_registration;
update orchestrator.definitions set owner = 'api' where owner like 'plugin:%';
alter table orchestrator.definitions drop constraint definitions_owner;
alter table orchestrator.definitions add constraint definitions_owner check (owner in ('api', 'file'));
drop table orchestrator.registrations;
