-- What signs access tokens. The private part is sealed by the host under its master key; nobody reads it here.
create table auth.signing_keys (
    kid text not null,
    algorithm text not null,
    jwk jsonb not null,
    -- Null once nothing may be signed with it any more.
    sealed text,
    state text not null,
    published_at timestamptz not null,
    active_at timestamptz,
    retired_at timestamptz,
    constraint signing_keys_pkey primary key (kid),
    constraint signing_keys_algorithm_check check (algorithm in ('ES256', 'EdDSA', 'RS256')),
    constraint signing_keys_state_check check (state in ('next', 'active', 'retiring', 'gone')),
    constraint signing_keys_sealed_check check ((state = 'gone') = (sealed is null))
);

-- One key signs, and at most one waits.
create unique index signing_keys_active_key on auth.signing_keys ((true)) where state = 'active';
create unique index signing_keys_next_key on auth.signing_keys ((true)) where state = 'next';

-- What authenticates refresh tokens, codes and links: 32 sealed bytes each. The newest makes, all check.
create table auth.mac_keys (
    id smallint generated always as identity (minvalue 1 maxvalue 255),
    sealed text not null,
    created_at timestamptz not null,
    constraint mac_keys_pkey primary key (id)
);
