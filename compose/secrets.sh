#!/usr/bin/env bash
# Makes the secrets of the stack, one file each in compose/secrets/, mode 0600:
#
#   compose/secrets.sh [DIRECTORY]
#
# What is there stays as it is, so it can be run again. Each file belongs to the user of the one service that reads it; for that
# it needs root, or a Docker that runs containers. The operator's key is shown once, by the run that makes it.
# To change a password later: README.md, "Secrets".
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
secrets=${1:-$here/secrets}

die() { printf 'error: %s\n' "$1" >&2; exit 1; }

random() { # 256 bits, hexadecimal
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# A password that several files hold is kept in the first of them.
write() { # NAME CONTENT: whole or not at all
  [ ! -e "$secrets/$1" ] || return 0
  printf '%s\n' "$2" >"$secrets/.$1.next"
  chmod 0600 "$secrets/.$1.next"
  mv "$secrets/.$1.next" "$secrets/$1"
  made+=("$1")
}
content() { cat "$secrets/$1"; }

# The user of each service, as compose.yaml has it.
owners() {
  cat <<'END'
999 999 postgres-password postgres-nself-password postgres-hasura-password
999 1000 redis.conf
10001 10001 nself-database-url nself-redis-url nself-operator-sha256 nself-hasura-sha256 smtp-password
10002 10002 hasura-admin-secret hasura-metadata-url hasura-source-url hasura-events-authorization
10003 10003 minio-root-user minio-root-password
END
}

make() {
  local password key
  write postgres-password "$(random)"
  write postgres-nself-password "$(random)"
  write postgres-hasura-password "$(random)"
  write redis.conf "requirepass $(random)"
  write minio-root-user "root-$(random | cut -c1-12)"
  write minio-root-password "$(random)"
  # For the catcher, which takes any. A server of others has one of its own: README.md, "Secrets".
  write smtp-password "$(random)"
  write hasura-admin-secret "$(random)"
  # Hasura's key for events: itself for Hasura, its digest for the host.
  write hasura-events-authorization "Bearer nsk_$(random)"
  key=$(content hasura-events-authorization)
  write nself-hasura-sha256 "$(printf '%s' "${key#Bearer }" | sha256sum | cut -d' ' -f1)"

  password=$(content postgres-nself-password)
  write nself-database-url "postgres://nself:$password@postgres:5432/nself"
  password=$(content postgres-hasura-password)
  write hasura-source-url "postgres://hasura:$password@postgres:5432/nself"
  write hasura-metadata-url "postgres://hasura:$password@postgres:5432/hasura"
  password=$(content redis.conf)
  write nself-redis-url "redis://:${password#requirepass }@redis:6379/0"

  if [ ! -e "$secrets/nself-operator-sha256" ]; then
    key=nsk_$(random)
    write nself-operator-sha256 "$(printf '%s' "$key" | sha256sum | cut -d' ' -f1)"
    printf 'The API key of the operator, shown this once:\n' >&2
    printf '%s\n' "$key"
  fi
}

# The images' users are numbers, here as in the containers. With user namespaces only a container knows which ones.
give() {
  local uid gid files line
  if docker info >/dev/null 2>&1; then
    owners | docker run --rm --interactive --network none --read-only --user 0:0 --cap-drop ALL --cap-add CHOWN \
      --cap-add DAC_READ_SEARCH --security-opt no-new-privileges:true --volume "$secrets:/secrets" --workdir /secrets \
      --entrypoint /bin/sh "$(sed -n 's/^ *image: &postgres-image //p' "$here/compose.yaml")" \
      -euc 'while read -r uid gid files; do chown "$uid:$gid" $files; done'
  elif [ "$(id -u)" -eq 0 ]; then
    while read -r line; do
      read -r uid gid files <<<"$line"
      # shellcheck disable=SC2086 # a list of names
      (cd "$secrets" && chown "$uid:$gid" $files)
    done < <(owners)
  else
    die "the files are made and belong to you; their owners have to be set: start Docker or become root, and run this again"
  fi
}

made=()
mkdir -p "$secrets"
chmod 0700 "$secrets"
if [ -r "$secrets/nself-redis-url" ] || [ ! -e "$secrets/nself-redis-url" ]; then make; fi
give
printf '%s secrets made in %s\n' "${#made[@]}" "$secrets" >&2
