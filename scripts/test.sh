#!/usr/bin/env bash
# Everything that CI runs, to be run at home with the same words:
#
#   scripts/test.sh [arguments of `cargo xtask ci`]
#
# Installs what the tests need when it may (root, or sudo without a password), otherwise says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

step "Machine"
repair_null_device
missing=()
have cc && have_headers || missing+=(gcc libc6-dev)
have redis-server || missing+=(redis-server)
have git || missing+=(git)
# Clients that others wrote, and a browser: the tests of sign-in need them.
have node || missing+=(nodejs)
have npm || missing+=(npm)
have chromium || missing+=(chromium)
# The judge of what we sign.
have minisign || missing+=(minisign)
# A media origin that asks the host.
have nginx || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
# An authority that certifies whoever asks it well.
have pebble || missing+=(pebble)
# The stack of compose/ is started in namespaces of this machine, and checked by tools that live below target/.
have ip || missing+=(iproute2)
have curl || missing+=(curl)
have openssl || missing+=(openssl)
have wget || missing+=(wget)
have sysctl || missing+=(procps)
/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
if ! find_rust && is_debian; then
  read -r -a rust <<<"$(rust_packages)" && missing+=("${rust[@]}")
fi

if may_install; then
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
  postgres_dir >/dev/null || install_postgres
elif [ ${#missing[@]} -gt 0 ]; then
  say "missing, and this user may not install it: ${missing[*]}"
fi

find_rust || die "no Rust $RUST_MIN or newer" "install it from https://rustup.rs or as a package"
dir=$(postgres_dir) || die "no PostgreSQL $POSTGRES_MIN or newer" "apt-get install postgresql"
say "$(rustc --version)"
say "$("$dir/postgres" --version) in $dir"

# What is built once and thrown away is built faster without what serves the next time, and who debugs.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0

exec cargo xtask ci "$@"
