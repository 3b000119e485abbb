drop table auth.one_time;
drop table auth.sessions;
drop table auth.credentials;
