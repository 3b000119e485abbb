DROP FUNCTION nself.like_pattern(text);
DROP FUNCTION nself.caller();
DROP FUNCTION nself.login_name(text);
DROP FUNCTION nself.current_role();
DROP FUNCTION nself.current_user_id();
DROP FUNCTION nself.current_family_id();
DROP FUNCTION nself.uuid_v7();
