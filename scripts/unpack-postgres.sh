#!/usr/bin/env bash
# Unpacks Debian's Postgres programs into a directory, without root rights and without touching the system:
#
#   scripts/unpack-postgres.sh DIRECTORY
#
# apt downloads (and verifies, as always) the packages that the system lacks; dpkg-deb unpacks them. The programs get
# the path of their libraries relative to themselves, so the directory may be moved and no environment is needed.
set -euo pipefail
# shellcheck source=scripts/machine.sh
. "$(dirname "$0")/machine.sh"

[ $# -eq 1 ] || die "say where to: $0 DIRECTORY"
is_debian || die "this needs apt-get and dpkg: install PostgreSQL $POSTGRES_MIN or newer, or set DATABASE_URL"

mkdir -p "$(dirname "$1")"
target=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
work=$target.work
trap 'rm -rf "$work"' EXIT
rm -rf "$work"
say "reading package lists"
private_lists "$work/apt"
server=$(apt-cache "${apt_options[@]}" depends postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p' | head -n 1)
[ -n "$server" ] || die "this distribution has no package postgresql: set DATABASE_URL to use a database elsewhere"
client=${server/postgresql-/postgresql-client-}

# Of what an installation would bring, only the programs and shared libraries. Not Debian's cluster tools in perl, not
# the just-in-time compiler (60 MB that a small server does not use).
mapfile -t packages < <(would_install "$server" "$client" patchelf |
  grep -E "^($server|$client|patchelf|lib.*)$" | grep -vE '^lib(llvm|z3|.*-perl$)')
unpack_packages "$work" "${packages[@]}"

bin=$(find "$work/tree/usr/lib/postgresql" -type d -name bin)
rm -f "$bin"/../lib/llvmjit*
patchelf=$(command -v patchelf || echo "$work/tree/usr/bin/patchelf")
arch=$(basename "$(find "$work/tree/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu*' | head -n 1)")
# RPATH, not RUNPATH: it also holds for the libraries of the libraries.
for program in "$bin"/*; do
  if head -c 4 "$program" | grep -q ELF; then
    # Literally $ORIGIN: the dynamic linker's word for "where this program is".
    # shellcheck disable=SC2016
    "$patchelf" --force-rpath --set-rpath '$ORIGIN/../../../'"$arch"':$ORIGIN/../../../../../lib/'"$arch" "$program"
  fi
done

if ldd "$bin/postgres" "$bin/initdb" "$bin/pg_dump" "$bin/psql" | grep 'not found' >&2; then
  die "the unpacked Postgres lacks libraries: ask an administrator to run: apt-get install postgresql"
fi
"$bin/postgres" --version >&2

# What the server needs, no manuals. The new tree takes its place in one step.
mkdir -p "$work/dist/usr/share"
mv "$work/tree/usr/lib" "$work/dist/usr/lib"
mv "$work/tree/usr/share/postgresql" "$work/dist/usr/share/postgresql"
[ ! -d "$work/tree/lib" ] || mv "$work/tree/lib" "$work/dist/lib"
chmod -R u+w,go-w "$work/dist"
rm -rf "$target"
mv "$work/dist" "$target"
