-- Workflows that plugins bring along. A plugin registers the text of one in a transaction of its own; a job reads it as every other
-- definition is read, and keeps it or says here what is wrong with it. Nothing of it runs before that.
create table orchestrator.registrations (
    namespace text not null,
    name text not null,
    version text not null,
    -- Whose it is. Nobody else registers anything in that namespace.
    plugin text not null,
    source text not null,
    status text not null default 'pending' constraint registrations_status check (status in ('pending', 'kept', 'refused')),
    -- What is wrong with one that is refused: code, message and details, as the API would say it.
    problem jsonb,
    registered_at timestamptz not null default clock_timestamp(),
    constraint registrations_pkey primary key (namespace, name, version)
);

-- An owner is `api`, `file`, or the plugin that registered it. Definitions are few: all of them are looked at in a moment.
alter table orchestrator.definitions drop constraint definitions_owner;
-- squawk-ignore constraint-missing-not-valid
alter table orchestrator.definitions add constraint definitions_owner check (owner in ('api', 'file') or owner like 'plugin:_%');

-- What of a registration does not do. The condition is one that callers know as bad input.
create function orchestrator.refuse_registration(problem text) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise invalid_parameter_value using message = problem, hint = 'docs: docs/plugin-author-guide.md, "Workflows"';
end
$$;

-- Registers a workflow of the plugin that calls, in the namespace that is called as the plugin is: `kept` when this text is kept
-- under this version already, `pending` when it will be looked at. One that was refused never ran, so its text may be mended.
create function orchestrator.register(name text, version text, definition text) returns text
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    caller text := nself.caller();
    owner text := substr(caller, length('/plugins/') + 1);
    -- Names of the DSL have no underscores.
    own text := replace(owner, '_', '-');
    known orchestrator.registrations;
    kept orchestrator.definitions;
begin
    if not starts_with(caller, '/plugins/') then
        raise insufficient_privilege using
            message = 'workflows are registered by plugins', hint = 'nself workflow apply keeps those of an operator';
    end if;
    if coalesce(length(register.name), 0) not between 1 and 63 or coalesce(length(register.version), 0) not between 1 and 100 then
        perform orchestrator.refuse_registration('a workflow has a name of at most 63 characters and a version of at most 100');
    end if;
    if coalesce(octet_length(register.definition), 0) not between 1 and 1048576 then
        perform orchestrator.refuse_registration('a definition has at most 1 MiB');
    end if;

    -- Whoever registers the same at the same time waits here.
    insert into orchestrator.registrations as r (namespace, name, version, plugin, source)
    values (own, register.name, register.version, owner, register.definition)
    on conflict do nothing;
    select r.* into known from orchestrator.registrations r
    where r.namespace = own and r.name = register.name and r.version = register.version for update;
    if known.plugin <> owner then
        perform orchestrator.refuse_registration(format('the workflows in %s are those of the plugin %s', own, known.plugin));
    end if;
    select d.* into kept from orchestrator.definitions d
    where d.namespace = own and d.name = register.name and d.version = register.version;
    if kept.source <> register.definition or known.status = 'pending' and known.source <> register.definition then
        perform orchestrator.refuse_registration(format(
            '%s/%s %s has another text already: give the new one another version', own, register.name, register.version));
    end if;
    if known.status = 'kept' and kept.id is not null and kept.removed_at is null then
        return 'kept';
    end if;
    update orchestrator.registrations r set source = register.definition, status = 'pending', problem = null
    where r.namespace = own and r.name = register.name and r.version = register.version;
    perform jobs.enqueue('orchestrator.register',
        jsonb_build_object('namespace', own, 'name', register.name, 'version', register.version));
    return 'pending';
end
$$;

-- What became of what the plugin that calls has registered: `status`, which is `pending`, `kept` or `refused`, and `problem`. Null when
-- it has registered no such thing.
create function orchestrator.registration(name text, version text) returns jsonb
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object('status', r.status, 'problem', r.problem) from orchestrator.registrations r
    where '/plugins/' || r.plugin = nself.caller() and r.namespace = replace(r.plugin, '_', '-')
      and r.name = registration.name and r.version = registration.version
$$;
