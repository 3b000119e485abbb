-- WebAuthn credentials (public keys), and people as other issuers know them.
create table auth.passkeys (
    id uuid not null default nself.uuid_v7(),
    user_id uuid not null,
    credential_id bytea not null,
    -- The verified credential as the library stores it: key, counter, flags.
    credential jsonb not null,
    name text not null,
    sign_count bigint not null default 0,
    transports text[] not null default '{}',
    aaguid uuid,
    is_backed_up boolean not null default false,
    created_at timestamptz not null,
    used_at timestamptz,
    constraint passkeys_pkey primary key (id),
    constraint passkeys_credential_id_key unique (credential_id),
    constraint passkeys_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade,
    constraint passkeys_name_check check (length(name) between 1 and 100)
);

create index passkeys_user_id_idx on auth.passkeys (user_id);

create table auth.identities (
    id uuid not null default nself.uuid_v7(),
    user_id uuid not null,
    provider text not null,
    issuer text not null,
    subject text not null,
    email text,
    is_email_verified boolean not null default false,
    created_at timestamptz not null,
    used_at timestamptz,
    constraint identities_pkey primary key (id),
    constraint identities_issuer_subject_key unique (issuer, subject),
    constraint identities_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade
);

create index identities_user_id_idx on auth.identities (user_id);
