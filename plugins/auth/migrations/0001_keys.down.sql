drop table auth.mac_keys;
drop table auth.signing_keys;
