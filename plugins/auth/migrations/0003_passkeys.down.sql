drop table auth.identities;
drop table auth.passkeys;
