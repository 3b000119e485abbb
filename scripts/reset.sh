#!/usr/bin/env bash
# Stops the stack and removes what bootstrap made in this directory, after asking:
#
#   scripts/reset.sh [--yes] [--build]
#
# That is the project's state with its database and secrets (.nself/), the offered plugins (plugins.d/), plugins.lock and
# nself.toml; with --build also the compiled programs (target/). Packages of the system stay.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

yes='' build=''
for argument in "$@"; do
  case $argument in
    -y | --yes) yes=yes ;;
    --build) build=yes ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) die "unknown argument $argument" "see scripts/reset.sh --help" ;;
  esac
done

target=${CARGO_TARGET_DIR:-target}
nself=$target/release/nself

things() {
  local path
  for path in .nself plugins.d plugins.lock nself.toml ${build:+"$target"}; do
    if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi
  done
  # A host started by root below /root keeps its database where the database's user can reach it.
  path=$(readlink -f .nself/pg 2>/dev/null || true)
  case $path in /var/lib/nself/?*/pg) echo "${path%/pg}" ;; esac
}

confirm() {
  say "This stops the stack and removes, for good:"
  du -shc -- "${found[@]}" 2>/dev/null | sed 's/^/  /' >&2
  [ -z "$yes" ] || return 0
  [ -t 0 ] || die "nobody is there to answer: add --yes"
  read -r -p "Type yes to go on: " answer
  [ "$answer" = yes ] || { say "nothing was changed"; exit 130; }
}

# Ends a database that outlived its host. A postmaster is ours when it works in our data directory.
stop_database() {
  local pidfile pid
  for pidfile in .nself/pg/*/postmaster.pid; do
    [ -e "$pidfile" ] || continue
    pid=$(head -n 1 "$pidfile")
    [ "/proc/$pid/cwd" -ef "$(dirname "$pidfile")" ] || continue
    say "stopping PostgreSQL (process $pid)"
    kill -INT "$pid"
    gone_within_30_s "$pid" || die "PostgreSQL (process $pid) does not stop: nothing was removed"
  done
}
gone_within_30_s() {
  for _ in $(seq 300); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}

# The hosts that hold a file of this project open: the program that started them may be gone, or stand elsewhere.
hosts() {
  local process
  for process in /proc/[0-9]*; do
    case $(readlink "$process/exe" 2>/dev/null) in */nself | */nself\ *) ;; *) continue ;; esac
    if find "$process/fd" -lname "$PWD/.nself/*" 2>/dev/null | grep -q .; then basename "$process"; fi
  done
}

# Exit code 69: no host runs here, which is as good.
stop_host() {
  local code=0 pid said
  [ -d .nself ] || return 0
  if [ ! -x "$nself" ]; then
    for pid in $(hosts); do
      say "stopping the host (process $pid)"
      kill -TERM "$pid"
      gone_within_30_s "$pid" || die "the host (process $pid) does not stop: nothing was removed"
    done
    return
  fi
  said=$("$nself" stop 2>&1) || code=$?
  [ "$code" -eq 69 ] || [ -z "$said" ] || say "$said"
  [ "$code" -eq 0 ] || [ "$code" -eq 69 ] || die "nself stop failed ($code): nothing was removed"
}

mapfile -t found < <(things)
if [ ${#found[@]} -eq 0 ]; then
  say "nothing to remove"
  exit 0
fi
confirm
stop_host
stop_database
rm -rf -- "${found[@]}"
say "removed"
