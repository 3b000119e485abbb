#!/usr/bin/env bash
# Autobahn, the conformance suite of RFC 6455, against the host's WebSockets:
#
#   scripts/autobahn.sh                       starts hosts of the testkit whose fixture echoes (tests of the testkit)
#   AUTOBAHN_WHOLE=1 scripts/autobahn.sh      the same with all cases of compression, which take many minutes
#   scripts/autobahn.sh URL FOLDER CASE...    tries a server that runs, such as ws://127.0.0.1:3000/echo out '1.*' '2.*'
#
# Everything that is no success fails it, also what is correct but not as strict as it could be. The report is FOLDER/index.html.
# The suite is written for Python 2.7: Debian 11's is unpacked below target/, beside the packages that autobahn.txt pins. Nothing
# is installed on the machine, and nothing takes root.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/machine.sh
. "$scripts/machine.sh"

home=${AUTOBAHN_HOME:-$scripts/../target/autobahn}
python_packages=(python2.7-minimal libpython2.7-minimal libpython2.7-stdlib libssl1.1 libffi7)

# The mirrors that this machine takes its own packages from, as far as its lists say so.
mirror() {
  # Words of apt's.
  # shellcheck disable=SC2016
  apt-get "${apt_options[@]}" indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian //p'
}

# unpack_python DIRECTORY: apt verifies the packages by Debian's key, as always.
unpack_python() {
  local key=/usr/share/keyrings/debian-archive-keyring.gpg from
  from=$(mirror)
  if [ -z "$from" ]; then
    # Images come without lists.
    private_lists "$1/own"
    from=$(mirror)
  fi
  from=${from%%$'\n'*}
  [ -n "$from" ] || die "apt knows no mirror of Debian, which the suite's Python is from"
  mkdir -p "$1/apt/parts"
  echo "deb [signed-by=$key] $from bullseye main" >"$1/apt/sources.list"
  # In a file, so that what machine.sh says to apt stays as it is.
  cat >"$1/apt/apt.conf" <<CONF
Dir::Etc::SourceList "$1/apt/sources.list";
Dir::Etc::SourceParts "$1/apt/parts";
CONF
  export APT_CONFIG=$1/apt/apt.conf
  private_lists "$1/apt"
  unpack_packages "$1" "${python_packages[@]/%//bullseye}"
  unset APT_CONFIG
}

install_suite() {
  local work=$home.work sdist
  if [ "$(uname -m)" != x86_64 ] || ! is_debian; then
    die "Autobahn's Python is unpacked from Debian's packages for x86-64 only"
  fi
  /usr/bin/python3 -c 'import venv, ensurepip' || die "no python3 with venv" "apt-get install python3 python3-venv"
  rm -rf "$work"
  mkdir -p "$work"/{packages,sources,site}
  unpack_python "$work"
  /usr/bin/python3 -m venv "$work/pip"
  "$work/pip/bin/pip" install -q --disable-pip-version-check setuptools==75.8.0 wheel==0.45.1
  "$work/pip/bin/pip" download -q --disable-pip-version-check --require-hashes --no-deps --no-build-isolation \
    --dest "$work/packages" --implementation cp --python-version 27 --abi cp27mu --abi abi3 --abi none \
    --platform manylinux1_x86_64 --platform manylinux2010_x86_64 --platform any -r "$scripts/autobahn.txt"
  find "$work/packages" -name '*.whl' -exec /usr/bin/python3 -m zipfile -e {} "$work/site" \;
  for sdist in "$work"/packages/*.tar.gz; do tar -xzf "$sdist" -C "$work/sources"; done
  cp -r "$work"/sources/autobahn-*/autobahn "$work"/sources/txaio-*/txaio "$work/site/"
  # A folder of several packages: its wheel leaves it to pip to make it one.
  touch "$work/site/zope/__init__.py"
  rm -rf "$work"/{apt,own,debs,packages,pip,sources} "$home"
  cp "$scripts/autobahn.txt" "$work/installed"
  mv "$work" "$home"
}

if [ $# -eq 0 ]; then
  cd "$scripts/.."
  cargo build --locked -p nself-plugin-fixture
  exec cargo test --locked -p nself-plugin-testkit --test it autobahn
fi

url=$1 folder=$2
shift 2
mkdir -p "$(dirname "$home")" "$folder"
exec 9>"$home.lock"
flock 9
cmp -s "$scripts/autobahn.txt" "$home/installed" || install_suite
flock -u 9
export LD_LIBRARY_PATH=$home/tree/usr/lib/x86_64-linux-gnu PYTHONPATH=$home/site PYTHONDONTWRITEBYTECODE=1
if ! "$home/tree/usr/bin/python2.7" -W ignore "$scripts/autobahn_cases.py" "$url" "$folder" "$@" >"$folder/log" 2>&1; then
  tail -n 40 "$folder/log" >&2
  exit 1
fi
tail -n 1 "$folder/log"
