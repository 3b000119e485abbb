DROP FUNCTION nself.sees_content;
