DROP TABLE nself.plugins;
