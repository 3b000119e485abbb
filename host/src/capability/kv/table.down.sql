DROP TABLE nself.kv;
