#!/usr/bin/env bash
# From a fresh clone to a running stack:
#
#   scripts/bootstrap.sh [--foreground] [--no-install] [--machine-only]
#   scripts/bootstrap.sh --compose
#
# Installs the Debian packages that are missing when it may (root, or sudo without a password); otherwise it unpacks them
# below target/ and .nself/, and says which an administrator could install. Builds the host and all plugins, makes
# the project in this directory, starts it, enables the plugins, prints the URLs.
# The stack keeps running in the background (`target/release/nself stop` ends it); with --foreground it stays in the
# terminal. --machine-only ends before the build. Can be run again: it changes only what is not there or not current.
# With --compose nothing is built or installed on this machine: Docker does it, out of compose/ (see its README.md).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

foreground='' install=yes machine_only='' containers=''
for argument in "$@"; do
  case $argument in
    --foreground) foreground=yes ;;
    --no-install) install='' ;;
    --machine-only) machine_only=yes ;;
    --compose) containers=yes ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) die "unknown argument $argument" "see scripts/bootstrap.sh --help" ;;
  esac
done
[ -z "$install" ] || may_install || install=''

out=${CARGO_TARGET_DIR:-target}/release
toolchain=${CARGO_TARGET_DIR:-target}/toolchain
nself=$out/nself

# What a compiler needs to make programs. The C compiler is for the crypto library (aws-lc); no cmake, no pkg-config.
missing_packages() {
  have cc && have_headers || echo "gcc libc6-dev"
  [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -n "${SSL_CERT_FILE:-}" ] || echo ca-certificates
}

prepare_machine() {
  local missing rust=''
  [ ! -e "$toolchain/environment" ] || use_toolchain
  missing=$(missing_packages | xargs)
  if ! find_rust; then
    if is_debian && rust=$(rust_packages); then
      missing="$missing $rust"
    elif have rustup; then
      die "no Rust $RUST_MIN or newer" "rustup update stable"
    else
      die "no Rust $RUST_MIN or newer, and none in this machine's package lists" "see https://rustup.rs, then run this again"
    fi
  fi
  missing=$(xargs <<<"$missing")
  [ -n "$missing" ] || return 0
  if [ -n "$install" ]; then
    # shellcheck disable=SC2086 # a list of names
    install_packages $missing
  elif is_debian; then
    say "this user may not install packages; an administrator could: apt-get update && apt-get install -y --no-install-recommends $missing"
    say "unpacking a compiler into $toolchain instead"
    scripts/unpack-toolchain.sh "$toolchain"
    use_toolchain
  else
    die "packages are missing: let an administrator install what Debian calls $missing, then run this again"
  fi
  find_rust || die "the installed Rust is older than $RUST_MIN" "$(rustc --version 2>&1)"
}
use_toolchain() {
  # shellcheck source=/dev/null # made by unpack-toolchain.sh
  . "$toolchain/environment"
}

prepare_postgres() {
  local dir
  if [ -n "${DATABASE_URL:-}" ]; then
    say "the database of DATABASE_URL"
  elif dir=$(postgres_dir); then
    say "$("$dir/postgres" --version) in $dir"
  elif [ -n "$install" ]; then
    install_postgres
  elif is_debian; then
    say "no PostgreSQL on this machine, and this user may not install it: unpacking one into $POSTGRES_DIST"
    # Passable and not listable, as the host makes it.
    [ -d .nself ] || mkdir -m 0711 .nself
    scripts/unpack-postgres.sh "$POSTGRES_DIST"
  else
    die "no PostgreSQL $POSTGRES_MIN or newer" "install it, or set DATABASE_URL to use a database elsewhere"
  fi
}

# plugin_crates: the folders below plugins/ that make a plugin, by their short names.
plugin_crates() {
  local manifest
  for manifest in plugins/*/Cargo.toml; do
    if grep -q cdylib "$manifest"; then basename "$(dirname "$manifest")"; fi
  done
}

build() {
  local packages=(-p nself) name
  for name in $(plugin_crates); do packages+=(-p "nself-plugin-$name"); done
  cargo build --release --locked "${packages[@]}"
}

# Offers the built plugins in the drop-in directory. Only their owner may write there: the host refuses anything else.
# Prints "new ID" or "changed ID" for each that was not there as it is.
offer_plugins() {
  local name file target word
  for name in $(plugin_crates); do
    file=$out/libnself_plugin_${name//-/_}.so target=plugins.d/$name.so word=changed
    [ -e "$target" ] || word=new
    if ! cmp -s "$file" "$target"; then
      # Renamed into place, so that nobody reads half a file.
      install -m 0644 "$file" "$target.next"
      mv "$target.next" "$target"
      rm -f "$target.minisig"
      echo "$word $name"
    fi
    # Built here, so this machine stands for it, whatever the policy says of files of others.
    [ -e "$target.minisig" ] || "$nself" plugin sign "$target" >&2
  done
}

accept_plugins() {
  local word name new=()
  while read -r word name; do
    case $word in
      new) new+=("$name") ;;
      changed) "$nself" plugin upgrade "$name" ;;
    esac
  done <<<"$1"
  [ ${#new[@]} -eq 0 ] || "$nself" plugin enable "${new[@]}"
}

# The same host with Hasura, Redis, object storage and a mail catcher, as containers.
has_docker() { docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; }
start_containers() {
  has_docker ||
    die "--compose needs Docker with Compose 2 and a daemon that this user may use; without --compose no Docker is needed"
  step "Secrets"
  [ -e compose/.env ] || cp compose/.env.example compose/.env
  compose/secrets.sh
  step "Build and start"
  cd compose
  docker compose up --build --detach
  # Named, because jobs that have ended are nothing to wait for.
  docker compose up --detach --wait nself hasura
  step "Ready"
  say "gateway http://localhost:3000, Hasura http://localhost:8080, mails http://localhost:8025, objects http://localhost:9001
What can be done with it: compose/README.md. It ends with: cd compose && docker compose down"
}

if [ -n "$containers" ]; then
  start_containers
  exit 0
fi

step "Machine"
repair_null_device
prepare_machine
say "$(rustc --version)"
prepare_postgres
[ -z "$machine_only" ] || exit 0

step "Build"
build

step "Project"
"$nself" init | grep -v '^next:' >&2
install -d -m 0755 plugins.d
offers=$(offer_plugins)

step "Start"
if ! "$nself" status --quiet 2>/dev/null; then "$nself" up --detach >/dev/null; fi
accept_plugins "$offers"

if [ -n "$foreground" ]; then
  step "In the foreground: ^C stops it"
  "$nself" stop
  exec "$nself" up
fi

step "Ready"
"$nself" urls
say "
The stack runs in the background. What it can do:
  $nself status        how it is
  $nself plugin list   what is loaded
  $nself stop          end it
  scripts/reset.sh     remove everything that this made"
