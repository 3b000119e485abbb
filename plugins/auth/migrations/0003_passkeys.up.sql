-- WebAuthn credentials (public keys), and people as other issuers know them.
create table auth.passkeys (
    id uuid not null default nself.uuid_v7(),
    user_id uuid not null,
    credential_id bytea not null,
    -- A JWK, as the host verifies signatures with.
    public_key jsonb not null,
    name text not null,
    sign_count bigint not null,
    transports text[] not null,
    aaguid uuid not null,
    -- Whether it may be copied to other devices is settled when it is made; whether it has been can change.
    is_backup_eligible boolean not null,
    is_backed_up boolean not null,
    created_at timestamptz not null,
    used_at timestamptz,
    constraint passkeys_pkey primary key (id),
    constraint passkeys_credential_id_key unique (credential_id),
    constraint passkeys_user_id_fkey foreign key (user_id) references public.users (id) on delete cascade,
    constraint passkeys_credential_id_check check (length(credential_id) between 1 and 1023),
    constraint passkeys_name_check check (length(name) between 1 and 100),
    constraint passkeys_backup_check check (is_backup_eligible or not is_backed_up)
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
