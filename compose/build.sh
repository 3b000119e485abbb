#!/usr/bin/env bash
# The steps of the image's build, so that they can be run and tested without Docker:
#
#   compose/build.sh compile          builds the host and all plugins
#   compose/build.sh stage DIRECTORY  lays them out as the image has them
#
# PROFILE is cargo's: release unless it says dev. CARGO_TARGET_DIR is honoured, as cargo does.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
out=${CARGO_TARGET_DIR:-target}/$profile
[ "$profile" != dev ] || out=${CARGO_TARGET_DIR:-target}/debug

# plugin_crates: the folders below plugins/ that make a plugin, by their short names.
plugin_crates() {
  local manifest
  for manifest in plugins/*/Cargo.toml; do
    if grep -q cdylib "$manifest"; then basename "$(dirname "$manifest")"; fi
  done
}

compile() {
  local packages=(-p nself) name
  for name in $(plugin_crates); do packages+=(-p "nself-plugin-$name"); done
  # Libraries have the features that the chosen packages want of them: with those of the tests' own build nothing is built again.
  [ "$profile" != dev ] || packages=(--workspace)
  cargo build --locked --profile "$profile" "${packages[@]}"
}

stage() {
  local image=$1 name
  install -d -m 0755 "$image"/usr/local/bin "$image"/usr/lib/nself/plugins
  install -m 0755 "$out/nself" "$image/usr/local/bin/nself"
  install -m 0755 compose/container.sh "$image/usr/local/bin/nself-container"
  for name in $(plugin_crates); do
    install -m 0644 "$out/libnself_plugin_${name//-/_}.so" "$image/usr/lib/nself/plugins/$name.so"
  done
  # The host refuses a state directory or a plugin directory that others can write.
  install -d -m 0700 "$image"/var/lib/nself "$image"/var/lib/nself/plugins.d
}

case ${1:-} in
  compile) compile ;;
  stage) stage "${2:?the directory to lay out}" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
