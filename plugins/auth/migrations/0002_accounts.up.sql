-- How people prove who they are. People themselves are in public.users.
create table auth.credentials (
    id uuid not null default nself.uuid_v7(),
    user_id uuid not null,
    kind text not null,
    -- A PHC string for a password, a MAC in hex for a recovery code, sealed for a TOTP seed.
    secret text not null,
    -- The last TOTP step that was used: each is good once.
    last_step bigint not null default 0,
    created_at timestamptz not null,
    -- A factor counts from its first use on; an enrolment that was never finished is none.
    confirmed_at timestamptz,
    used_at timestamptz,
    constraint credentials_pkey primary key (id),
    constraint credentials_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade,
    constraint credentials_kind_check check (kind in ('password', 'totp', 'recovery'))
);

create unique index credentials_password_key on auth.credentials (user_id) where kind = 'password';
create unique index credentials_totp_key on auth.credentials (user_id) where kind = 'totp';
create unique index credentials_recovery_key on auth.credentials (user_id, secret) where kind = 'recovery';

-- A session is one signed-in app or machine. Rotating its refresh token counts `generation` up in place: no row per
-- rotation, and none of the columns that it changes is in an index, so the update stays on its page.
create table auth.sessions (
    id uuid not null default nself.uuid_v7(),
    user_id uuid,
    device_id uuid,
    generation integer not null default 1,
    rotated_at timestamptz not null,
    -- Access tokens that carry an older epoch are refused: it counts changes of what they say, such as the role.
    epoch integer not null default 0,
    epoch_at timestamptz,
    aal smallint not null,
    amr text[] not null,
    auth_time timestamptz not null,
    elevated_until timestamptz,
    family_id uuid,
    client text,
    ip inet,
    user_agent text,
    created_at timestamptz not null,
    idle_expiry timestamptz not null,
    absolute_expiry timestamptz not null,
    revoked_at timestamptz,
    revoked_why text,
    constraint sessions_pkey primary key (id),
    constraint sessions_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade,
    constraint sessions_device_id_fkey foreign key (device_id) references public.devices (id) on delete cascade,
    constraint sessions_family_id_fkey foreign key (family_id) references public.families (id) on delete set null,
    constraint sessions_bearer_check check (num_nonnulls(user_id, device_id) = 1),
    constraint sessions_aal_check check (aal in (1, 2)),
    constraint sessions_revoked_check check ((revoked_at is null) = (revoked_why is null))
) with (fillfactor = 80);

create index sessions_user_id_idx on auth.sessions (user_id) where revoked_at is null;
create index sessions_device_id_idx on auth.sessions (device_id) where device_id is not null;
create index sessions_family_id_idx on auth.sessions (family_id) where revoked_at is null;
create index sessions_revoked_at_idx on auth.sessions (revoked_at) where revoked_at is not null;
create index sessions_epoch_at_idx on auth.sessions (epoch_at) where epoch_at is not null;
create index sessions_absolute_expiry_idx on auth.sessions (absolute_expiry);

-- Codes and links that work once. One live row per purpose and target: a new code replaces the old one, and what was
-- counted against the old one counts against it.
create table auth.one_time (
    id uuid not null default nself.uuid_v7(),
    purpose text not null,
    -- The address or account that it is about.
    target text not null,
    user_id uuid,
    -- HMAC of the code; null for a flow that only remembers where somebody stands.
    secret_mac bytea,
    tries integer not null default 0,
    tries_max integer not null default 5,
    payload jsonb not null default '{}',
    created_at timestamptz not null,
    expires_at timestamptz not null,
    consumed_at timestamptz,
    constraint one_time_pkey primary key (id),
    constraint one_time_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade
);

create unique index one_time_live_key on auth.one_time (purpose, target) where consumed_at is null;
create index one_time_user_id_idx on auth.one_time (user_id) where user_id is not null;
create index one_time_expires_at_idx on auth.one_time (expires_at);
