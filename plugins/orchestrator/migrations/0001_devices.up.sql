-- Commands for machines. A command is signed when it is made, and what is delivered is the signed text: the machine checks
-- who it is for and how long it holds, and nothing between the host and the machine can change that.

-- The pairs that commands are signed with. One is used for new ones; machines check with any that is here.
create table orchestrator.signing_keys (
    id text primary key,
    public_jwk jsonb not null,
    -- Only the host can open it.
    sealed_key text not null,
    created_at timestamptz not null default clock_timestamp()
);

create table orchestrator.device_commands (
    id uuid primary key default nself.uuid_v7(),
    family_id uuid not null,
    device_id uuid not null,
    name text not null constraint device_commands_name check (name ~ '^[a-z][a-z0-9_.:-]{0,99}$'),
    -- The compact JWS that the machine gets: its payload has name and input.
    signed text not null,
    status text not null default 'pending'
        constraint device_commands_status check (status in ('pending', 'delivered', 'done', 'failed', 'expired', 'cancelled')),
    -- The same request again is the same command.
    key text constraint device_commands_key_length check (length(key) between 1 and 200),
    request_hash text,
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    -- How often it was handed out; it is again when the machine does not say in time what became of it.
    deliveries integer not null default 0,
    delivered_at timestamptz,
    due_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    result jsonb,
    error text,
    constraint device_commands_ended check ((ended_at is null) = (status in ('pending', 'delivered')))
);

-- What a machine is to get, in the order in which it was asked for.
create index device_commands_open on orchestrator.device_commands (device_id, id) where ended_at is null;
create index device_commands_expiry on orchestrator.device_commands (expires_at) where ended_at is null;
create index device_commands_ended_at on orchestrator.device_commands (ended_at) where ended_at is not null;
create index device_commands_family on orchestrator.device_commands (family_id, id);
create unique index device_commands_key on orchestrator.device_commands (device_id, key) where key is not null;
