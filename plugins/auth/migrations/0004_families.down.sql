drop table auth.api_tokens;
drop table auth.device_codes;
drop table auth.invitations;
