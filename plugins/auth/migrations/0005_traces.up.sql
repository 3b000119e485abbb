-- Wrong proofs of who somebody is: passwords, codes, second factors. The first of an account is written into the audit log at
-- once, what follows within a quarter of an hour is counted here and written there once, with its count. So whoever tries
-- for days leaves a trace, and nobody can fill the log.
create table auth.failed_proofs (
    -- Nobody's (all zeros) for addresses that have no account: they are counted together, for anybody can think of as many
    -- of them as they like.
    account uuid not null,
    way text not null,
    tries integer not null default 1,
    -- Where they came from, the first sixteen.
    networks text[] not null,
    began_at timestamptz not null,
    last_at timestamptz not null,
    constraint failed_proofs_pkey primary key (account, way)
);

-- A code that comes a second time was copied by somebody on its way. Then the session ends that it began (RFC 6749, sections
-- 4.1.2 and 10.5): `begun_by` is the first of the codes that led to it.
alter table auth.one_time add column replayed_at timestamptz;
alter table auth.sessions add column begun_by uuid;
-- Before the first release there is no table that is long enough to hold up its writers while this is built.
-- squawk-ignore require-concurrent-index-creation
create index sessions_begun_by_idx on auth.sessions (begun_by) where begun_by is not null;
