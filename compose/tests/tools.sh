#!/usr/bin/env bash
# Puts what the tests of compose/ use below target/compose-tools, and prints that directory: Python programs of pinned
# versions; Compose, Caddy and promtool out of Debian's packages. Nothing is installed on the machine, nothing is downloaded twice.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/compose-tools
wanted=$(cat compose/tests/requirements.txt compose/tests/tools.sh | sha256sum)
mkdir -p "$tools"
# Several test processes may come at a time.
exec 9>"$tools/lock"
flock 9
if [ "$(cat "$tools/made" 2>/dev/null)" = "$wanted" ]; then
  echo "$tools"
  exit 0
fi

is_debian || die "the checks of compose/ unpack Compose and Caddy out of Debian's packages, and this is no Debian"
# The system's: services of the tests run as other users, who cannot pass through somebody's home.
python=/usr/bin/python3
"$python" -c 'import venv, ensurepip' 2>/dev/null || die "the checks of compose/ need Python with venv" "apt-get install python3-venv"

"$python" -m venv --clear "$tools/python" >&2
"$tools/python/bin/pip" install --quiet --disable-pip-version-check --requirement compose/tests/requirements.txt >&2
# By itself: it brings a hundred packages, some of them in other versions.
"$python" -m venv --clear "$tools/checkov" >&2
"$tools/checkov/bin/pip" install --quiet --disable-pip-version-check checkov==3.3.30 >&2
ln -sf ../../checkov/bin/checkov "$tools/python/bin/checkov"

# Compose 2 is a package since Debian 13, and its program runs on Debian 12, too. The lists of 13 come from the system's own
# mirror into a place of their own: the system's are not changed.
lists_of_debian_13() {
  local mirror lists=$tools/apt
  # shellcheck disable=SC2016 # apt expands it
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$') ||
    die "no mirror of Debian's main archive in this machine's sources"
  mkdir -p "$lists"/lists/partial "$lists"/cache/archives/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$lists/sources.list"
  apt_options=(-o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$lists/lists"
    -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$lists/cache" -o Debug::NoLocking=true -o APT::Sandbox::User=)
  apt-get "${apt_options[@]}" -qq update >&2 || no_mirror
}
lists_of_debian_13
rm -rf "$tools"/{debs,tree}
unpack_packages "$tools" docker-compose/trixie caddy/trixie promtool/trixie >&2
ln -sf ../../tree/usr/bin/caddy "$tools/python/bin/caddy"
ln -sf ../../tree/usr/libexec/docker/cli-plugins/docker-compose "$tools/python/bin/docker-compose"
ln -sf ../../tree/usr/bin/promtool "$tools/python/bin/promtool"
"$tools/python/bin/docker-compose" version >&2
echo "$wanted" >"$tools/made"
echo "$tools"
