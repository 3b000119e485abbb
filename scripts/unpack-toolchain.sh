#!/usr/bin/env bash
# Unpacks a C compiler and Rust into a directory, without root rights and without touching the system:
#
#   scripts/unpack-toolchain.sh DIRECTORY
#   . DIRECTORY/environment
#
# For a user who may not install packages; Debian's own are taken, and apt verifies them. About 1 GB, once.
set -euo pipefail
# shellcheck source=scripts/machine.sh
. "$(dirname "$0")/machine.sh"

[ $# -eq 1 ] || die "say where to: $0 DIRECTORY"
mkdir -p "$(dirname "$1")"
target=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
work=$target.work
trap 'rm -rf "$work"' EXIT
rm -rf "$work"
mkdir -p "$work"

say "reading package lists"
private_lists "$work/apt"
read -r -a rust <<<"$(rust_packages)"
[ ${#rust[@]} -eq 2 ] || die "this distribution has no Rust $RUST_MIN or newer: see https://rustup.rs"
# The C library is installed, of course; the linker wants it in the same tree as its headers.
mapfile -t packages < <(would_install gcc libc6-dev ca-certificates "${rust[@]}"; echo libc6; echo libgcc-s1)
unpack_packages "$work" "${packages[@]}"

arch=$(basename "$(find "$work/tree/usr/lib/gcc" -mindepth 1 -maxdepth 1 -type d | head -n 1)")
cat "$work"/tree/usr/share/ca-certificates/mozilla/*.crt >"$work/tree/ca-certificates.crt"

# The compiler looks for headers, libraries and start files below the tree instead of below /.
mkdir "$work/tree/bin.d"
for name in cc gcc; do
  cat >"$work/tree/bin.d/$name" <<WRAPPER
#!/bin/sh
exec "$target/usr/bin/gcc" --sysroot="$target" "\$@"
WRAPPER
  chmod +x "$work/tree/bin.d/$name"
done

cat >"$work/tree/environment" <<ENVIRONMENT
# Sourced by bootstrap.sh: the compilers of this directory, for this shell and its children.
export PATH="$target/bin.d:$target/usr/bin:\$PATH"
export LD_LIBRARY_PATH="$target/usr/lib/$arch:$target/lib/$arch:\${LD_LIBRARY_PATH:-}"
export CC="$target/bin.d/cc"
[ -s /etc/ssl/certs/ca-certificates.crt ] || export SSL_CERT_FILE="$target/ca-certificates.crt" CARGO_HTTP_CAINFO="$target/ca-certificates.crt"
ENVIRONMENT

rm -rf "$target"
mv "$work/tree" "$target"
