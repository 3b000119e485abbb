# shellcheck shell=bash
# What this machine has, and what it lacks. Sourced by the other scripts; does nothing by itself.

# The oldest compiler that builds this: `rust-version` in Cargo.toml says the same.
RUST_MIN=1.88
# The oldest Postgres that the SQL is written for.
POSTGRES_MIN=15

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n==> %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_debian() { have apt-get && have dpkg; }

# Runs a command as root: directly, or by sudo when it asks for no password. Nobody is there to type one.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}
may_install() {
  is_debian || return 1
  [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# Postgres runs as another account than root, and its programs write to the null device. Images and chroots spoil it:
# its mode, or a file in its place.
repair_null_device() {
  local null=/dev/null
  [ "$(stat -c '%F %a' "$null")" != "character special file 666" ] && [ "$(id -u)" -eq 0 ] || return 0
  say "$null is not writable by every account: repairing it"
  [ -c "$null" ] || { rm -f "$null" && mknod "$null" c 1 3; }
  chmod 666 "$null"
}

# at_least FOUND WANTED: compares versions number by number.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The version in "rustc 1.95.0 (59807616e 2026-04-14)" or "postgres (PostgreSQL) 15.18 (Debian …)".
version_in() { grep -oE '[0-9]+(\.[0-9]+)*' | head -n 1; }

# --- Debian packages ------------------------------------------------------------------------------------------------

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Where apt reads its lists: the system's, unless `private_lists` made some.
apt_options=(-o APT::Sandbox::User=)

# Package lists may be empty (images delete them) or old: fetched at most once per run.
refresh_lists() {
  [ -z "${lists_are_fresh:-}" ] || return 0
  as_root apt-get update -qq || no_mirror
  lists_are_fresh=yes
}
no_mirror() { die "apt-get update failed: the machine needs a package mirror it can reach"; }

# unpack_packages DIRECTORY NAME...: downloads packages (apt verifies them, as always) and unpacks them into DIRECTORY/tree,
# for a user who may not install. Their scripts do not run, the system is not touched.
unpack_packages() {
  local into=$1 deb
  shift
  mkdir -p "$into"/{debs,tree}
  say "downloading $# packages"
  (cd "$into/debs" && apt-get "${apt_options[@]}" -qq download "$@")
  for deb in "$into"/debs/*.deb; do dpkg-deb -x "$deb" "$into/tree"; done
}

# would_install NAME...: what an installation of these would bring to this machine, dependencies included.
would_install() {
  apt-get "${apt_options[@]}" -s --no-install-recommends install "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p'
}

# private_lists DIRECTORY: lists and cache for a user who may not touch the system's. What is installed is still read there.
private_lists() {
  mkdir -p "$1"/lists/partial "$1"/cache/archives/partial
  apt_options=(-o "Dir::State::lists=$1/lists" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$1/cache"
    -o Debug::NoLocking=true -o APT::Sandbox::User= -o APT::Get::List-Cleanup=false)
  apt-get "${apt_options[@]}" -qq update || no_mirror
}

install_packages() {
  refresh_lists
  say "installing: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2
}

# candidate PACKAGE: the version that apt would install, without Debian's epoch; nothing when there is none.
candidate() { apt-cache "${apt_options[@]}" policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9]*:\)\{0,1\}\([0-9].*\)$/\2/p'; }

# A C library to compile against; an unpacked compiler brings its own.
have_headers() { echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; }

# --- Rust -----------------------------------------------------------------------------------------------------------

# Finds a compiler that is new enough, also where rustup puts it for shells that have read its profile.
find_rust() {
  local place
  for place in "" "${CARGO_HOME:-$HOME/.cargo}/bin:" "$HOME/.cargo/bin:"; do
    if PATH="$place$PATH" rust_on_path; then
      export PATH="$place$PATH"
      return 0
    fi
  done
  return 1
}
rust_on_path() {
  hash -r
  have cargo && have rustc && at_least "$(rustc --version 2>/dev/null | version_in)" "$RUST_MIN"
}

# rust_packages: the distribution's packages of a compiler that is new enough, such as "rustc-web cargo-web" on Debian 12.
rust_packages() ( # a subshell: it may use lists of its own
  local suffix version lists
  trap 'rm -rf "${lists:-}"' EXIT
  if may_install; then
    refresh_lists
  else
    lists=$(mktemp -d)
    private_lists "$lists" || return 1
  fi
  for suffix in "" -web $(apt-cache "${apt_options[@]}" pkgnames rustc-1. 2>/dev/null | sed -n 's/^rustc\(-1\.[0-9]*\)$/\1/p' | sort -Vr); do
    version=$(candidate "rustc$suffix")
    if [ -n "$version" ] && [ -n "$(candidate "cargo$suffix")" ] && at_least "${version%%[+~-]*}" "$RUST_MIN"; then
      echo "rustc$suffix cargo$suffix"
      return 0
    fi
  done
  return 1
)

# --- Postgres -------------------------------------------------------------------------------------------------------

# Where bootstrap unpacks Postgres for a user who may not install it. The host looks there, too.
POSTGRES_DIST=.nself/postgres-dist

# The first directory of Postgres programs that will do, in the host's order.
postgres_dir() {
  local dir
  while read -r dir; do
    if [ -x "$dir/postgres" ]; then
      # /usr/local/bin/postgres may be a link; initdb stands beside the program that it leads to.
      dir=$(dirname "$(readlink -f "$dir/postgres")")
      if [ -x "$dir/initdb" ] && at_least "$("$dir/postgres" --version | version_in)" "$POSTGRES_MIN"; then
        echo "$dir"
        return 0
      fi
    fi
  done < <(postgres_places)
  return 1
}
postgres_places() {
  tr ':' '\n' <<<"$PATH"
  printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -Vr
  echo /usr/local/pgsql/bin
  find "$POSTGRES_DIST" -type d -name bin 2>/dev/null | sort -r
}

# Installs the distribution's Postgres without the cluster that its packages would create and start: the host has its own.
install_postgres() {
  local conf=/etc/postgresql-common/createcluster.conf
  if installed postgresql-common; then
    install_packages postgresql
    return
  fi
  install_packages postgresql-common
  as_root sed -i 's/^#create_main_cluster = true/create_main_cluster = false/' "$conf"
  install_packages postgresql
  as_root sed -i 's/^create_main_cluster = false/#create_main_cluster = true/' "$conf"
}
