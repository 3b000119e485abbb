DROP FUNCTION nself.isolate(regclass);
DROP FUNCTION nself.crosses_families();
