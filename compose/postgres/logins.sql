-- The logins of the host and of Hasura, each with a database of its own. Read once, by the first start of an empty cluster.
-- The passwords come from files and never stand in an argument; nothing is logged while they pass through.
\set ON_ERROR_STOP on
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
\set nself_password `cat /run/secrets/postgres-nself-password`
\set hasura_password `cat /run/secrets/postgres-hasura-password`

-- CREATEROLE: the host makes one login per plugin, with the rights of its manifest and no more.
CREATE ROLE nself LOGIN CREATEROLE PASSWORD :'nself_password';
CREATE ROLE hasura LOGIN PASSWORD :'hasura_password';

CREATE DATABASE nself OWNER nself;
CREATE DATABASE hasura OWNER hasura;
REVOKE CONNECT, TEMPORARY ON DATABASE hasura FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE postgres FROM PUBLIC;

-- Hasura works as the owner of the shared tables: it enforces the roles' permissions itself, from the same policy source.
GRANT nself TO hasura;
