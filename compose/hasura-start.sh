#!/bin/sh
# Starts Hasura with the secrets that the files of `*_FILE` hold: it reads none of them itself. They are in the environment
# of this one process then, in no image, no compose file and no process list.
set -eu

from_file() {
  value=$(cat "$2")
  [ -n "$value" ] || {
    echo "$2 is empty: run compose/secrets.sh" >&2
    exit 78
  }
  export "$1=$value"
  unset value
}

from_file HASURA_GRAPHQL_ADMIN_SECRET "$HASURA_GRAPHQL_ADMIN_SECRET_FILE"
from_file HASURA_GRAPHQL_METADATA_DATABASE_URL "$HASURA_GRAPHQL_METADATA_DATABASE_URL_FILE"
# What metadata/databases names as `from_env`.
from_file HASURA_GRAPHQL_DATABASE_URL "$NSELF_HASURA_SOURCE_URL_FILE"
# What event triggers of the metadata show to the host.
from_file NSELF_EVENTS_AUTHORIZATION "$NSELF_EVENTS_AUTHORIZATION_FILE"
unset HASURA_GRAPHQL_ADMIN_SECRET_FILE HASURA_GRAPHQL_METADATA_DATABASE_URL_FILE NSELF_HASURA_SOURCE_URL_FILE \
  NSELF_EVENTS_AUTHORIZATION_FILE

exec "$@"
