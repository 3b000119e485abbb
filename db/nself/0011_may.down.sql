DROP FUNCTION nself.may(text, text);
