#!/usr/bin/env bash
# Runs the README's commands on a bare Debian machine: a minimal root that has neither curl nor sudo nor /etc/hosts.
# Not part of CI (it needs root, a package mirror and a release build):
#
#   scripts/try-fresh.sh root|user [arguments of bootstrap.sh, such as --machine-only]
#
# `user` may install nothing and has no sudo. The last commit is cloned, not the work tree. SUITE (default bookworm) chooses the Debian release; the pristine root is
# kept in FRESH_CACHE (default /tmp/nself-fresh), and so is nothing else. Crates come from this machine's cargo cache.
# The network is this machine's, and so are the ports: another stack must not run here.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

who=${1:-}
[ "$who" = root ] || [ "$who" = user ] || die "say who: $0 root|user"
shift
[ "$(id -u)" -eq 0 ] || die "this makes mounts: run it as root"

# Said now: the ports are wanted only after the build. The gateway's, the plugins' own, and the mail catcher's two.
port=${FRESH_PORT:-3000}
for wanted in "$port" 3001 3003 3004 1025 8025; do
  ! (exec 3<>"/dev/tcp/127.0.0.1/$wanted") 2>/dev/null || die "something on this machine has port $wanted" \
    "stop it; the gateway's port can be another: FRESH_PORT=3900 $0 $who"
done

suite=${SUITE:-bookworm}
cache=${FRESH_CACHE:-/tmp/nself-fresh}
if [ ! -d "$cache/$suite" ]; then
  have mmdebstrap || install_packages mmdebstrap
  mkdir -p "$cache"
  rm -rf "$cache/$suite.next"
  mmdebstrap --variant=minbase --format=directory "$suite" "$cache/$suite.next"
  mv "$cache/$suite.next" "$cache/$suite"
fi

# Everything that is mounted or started below vanishes with the namespace.
if [ -z "${INSIDE_NAMESPACE:-}" ]; then
  exec env INSIDE_NAMESPACE=yes unshare --mount --pid --fork --kill-child "$0" "$who" "$@"
fi

root=$(mktemp -d /tmp/nself-try.XXXXXX)
trap 'umount -R "$root"/{proc,dev} 2>/dev/null; rm -rf --one-file-system "$root"' EXIT
cp -a "$cache/$suite/." "$root"
chmod 0755 "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
cp /etc/resolv.conf "$root/etc/resolv.conf"

if [ "$who" = user ]; then
  chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 ada
  home=/home/ada
else
  home=/root
fi
git clone --quiet --no-hardlinks . "$root$home/nself"
mkdir -p "$root$home/.cargo/registry"
cp -a "${CARGO_HOME:-$HOME/.cargo}"/registry/{index,cache} "$root$home/.cargo/registry/"
[ "$who" = root ] || chown -R 1000:1000 "$root$home"

# as USER COMMAND: in the new machine, with an environment that says nothing about this one.
as() {
  local id=$1 where=$2
  shift 2
  chroot --userspec="$id:$id" "$root" env -i HOME="$where" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    CARGO_NET_OFFLINE=true CARGO_TERM_PROGRESS_WHEN=never NSELF_HTTP__PORT="$port" bash -c "$@"
}

# An authenticated request out of a real database, without curl: bash speaks enough HTTP.
# shellcheck disable=SC2016 # expanded in there
request='exec 3<>"/dev/tcp/127.0.0.1/$NSELF_HTTP__PORT"
printf "GET /hello/notes HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\nconnection: close\r\n\r\n" "$(target/release/nself token)" >&3
answer=$(cat <&3); echo "$answer"; grep -q "^HTTP/1.1 200" <<<"$answer"'

try() { # the README's command, and what it says one sees then
  as "$1" "$home" 'cd ~/nself && scripts/bootstrap.sh "$@"' bootstrap "${@:2}"
  case " $* " in *" --machine-only "*) return ;; esac
  as "$1" "$home" "cd ~/nself && target/release/nself status && $request"
  changed=$(git -c safe.directory='*' -C "$root$home/nself" status --short)
  [ -z "$changed" ] || die "the clone is not clean any more:" "$changed"
  as "$1" "$home" 'cd ~/nself && scripts/reset.sh --yes'
}

if [ "$who" = root ]; then try 0 "$@"; else try 1000 "$@"; fi
step "It works on a fresh $suite, as $who"
