#!/bin/sh
# Does what the entrypoint of the image `postgres` does, with the programs of this machine: the first start makes the cluster,
# runs the scripts of /docker-entrypoint-initdb.d on a server that only a socket reaches, and every start ends in the command.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  # shellcheck disable=SC2086 # a list of arguments
  initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust $POSTGRES_INITDB_ARGS >&2
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait -o "-c listen_addresses= -c unix_socket_directories=/var/run/postgresql" start >&2
  for file in /docker-entrypoint-initdb.d/*.sql; do
    psql --no-psqlrc --set ON_ERROR_STOP=1 --host=/var/run/postgresql --username="$POSTGRES_USER" --dbname=postgres --file="$file" >&2
  done
  pg_ctl --wait --mode=fast stop >&2
fi
# The image's own configuration listens everywhere.
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
