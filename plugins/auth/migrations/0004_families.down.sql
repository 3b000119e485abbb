alter table auth.sessions drop column api_token_id;
drop table auth.api_tokens;
drop table auth.device_codes;
drop table auth.invitations;
