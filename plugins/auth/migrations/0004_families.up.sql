-- Invitations into a family: to one address (used once, by who proves the address) or as a link.
create table auth.invitations (
    id uuid not null default nself.uuid_v7(),
    family_id uuid not null,
    role text not null,
    email text,
    token_mac bytea not null,
    invited_by uuid not null,
    uses integer not null default 0,
    uses_max integer not null default 1,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    constraint invitations_pkey primary key (id),
    constraint invitations_token_mac_key unique (token_mac),
    constraint invitations_family_id_fkey foreign key (family_id) references public.families (id) on delete cascade,
    constraint invitations_invited_by_fkey foreign key (invited_by) references public.users (id) on delete cascade,
    constraint invitations_role_check check (role in ('ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER')),
    constraint invitations_uses_check check (uses between 0 and uses_max),
    constraint invitations_email_check check (email is null or uses_max = 1)
);

create index invitations_family_id_idx on auth.invitations (family_id);
create index invitations_invited_by_idx on auth.invitations (invited_by);
create index invitations_email_idx on auth.invitations (email) where email is not null;

-- Pairing of a machine (RFC 8628): what the machine polls with, and what a person types.
create table auth.device_codes (
    id uuid not null default nself.uuid_v7(),
    device_code_mac bytea not null,
    user_code_mac bytea not null,
    client_id text not null,
    name text not null,
    kind text not null,
    ip inet,
    status text not null default 'pending',
    interval_seconds integer not null default 5,
    polled_at timestamptz,
    family_id uuid,
    device_id uuid,
    approved_by uuid,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint device_codes_pkey primary key (id),
    constraint device_codes_device_code_mac_key unique (device_code_mac),
    constraint device_codes_family_id_fkey foreign key (family_id) references public.families (id) on delete cascade,
    constraint device_codes_device_id_fkey foreign key (device_id) references public.devices (id) on delete cascade,
    constraint device_codes_approved_by_fkey foreign key (approved_by) references public.users (id) on delete cascade,
    constraint device_codes_status_check check (status in ('pending', 'approved', 'denied', 'used'))
);

create unique index device_codes_user_code_key on auth.device_codes (user_code_mac) where status = 'pending';
create index device_codes_expires_at_idx on auth.device_codes (expires_at);
create index device_codes_family_id_idx on auth.device_codes (family_id) where family_id is not null;

-- Tokens that a person makes for scripts, and that an operator makes for services.
create table auth.api_tokens (
    id uuid not null default nself.uuid_v7(),
    user_id uuid,
    family_id uuid,
    name text not null,
    prefix text not null,
    token_mac bytea not null,
    scopes text[] not null default '{}',
    created_at timestamptz not null,
    expires_at timestamptz,
    used_at timestamptz,
    revoked_at timestamptz,
    constraint api_tokens_pkey primary key (id),
    constraint api_tokens_token_mac_key unique (token_mac),
    constraint api_tokens_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade,
    constraint api_tokens_family_id_fkey foreign key (family_id) references public.families (id) on delete cascade,
    constraint api_tokens_name_check check (length(name) between 1 and 100)
);

create index api_tokens_user_id_idx on auth.api_tokens (user_id) where user_id is not null;
create index api_tokens_family_id_idx on auth.api_tokens (family_id) where family_id is not null;
create index api_tokens_revoked_at_idx on auth.api_tokens (revoked_at) where revoked_at is not null;

-- The token that a session was exchanged for: with it the session ends.
alter table auth.sessions add column api_token_id uuid;
-- Before the first release no database has sessions that this would keep waiting.
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
alter table auth.sessions add constraint sessions_api_token_id_fkey
    foreign key (api_token_id) references auth.api_tokens (id) on delete set null;
-- squawk-ignore require-concurrent-index-creation
create index sessions_api_token_id_idx on auth.sessions (api_token_id) where api_token_id is not null;
