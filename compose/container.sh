#!/bin/sh
# What the container of the host runs (`nself-container` in the image). It works in the project's directory, a volume:
#
#   nself-container start     offers the image's plugins, accepts those of ENABLE_PLUGINS the first time, serves
#   nself-container upgrade   exchanges running plugins for the image's newer files, while requests come in
#
# A plugin that the operator has disabled stays disabled, and one that runs is exchanged only by `upgrade`.
set -eu

shipped=${NSELF_SHIPPED:-/usr/lib/nself/plugins}
unset NSELF_SHIPPED
offered=plugins.d

# Copies the image's files that are new or differ to the plugin directory. Renamed into place: nobody reads half a file.
offer() {
  for file in "$shipped"/*.so; do
    name=$(basename "$file")
    cmp -s "$file" "$offered/$name" || {
      cp "$file" "$offered/.$name.next"
      chmod 0644 "$offered/.$name.next"
      mv "$offered/.$name.next" "$offered/$name"
      rm -f "$offered/$name.minisig"
      echo "offered: $name" >&2
    }
    # Whoever runs the image stands for what it ships, whatever the policy says of files of others.
    [ -e "$offered/$name.minisig" ] || nself plugin sign "$offered/$name" >&2
  done
}

is_known() { grep -qs "^\[plugins\.$1\]" plugins.lock; }

# Accepts what the operator's list names and nobody has decided about yet.
accept_new() {
  new=''
  for id in ${ENABLE_PLUGINS:-}; do
    is_known "$id" || new="$new $id"
  done
  # shellcheck disable=SC2086 # a list of ids
  [ -z "$new" ] || nself plugin enable $new >&2
}

case ${1:-} in
  start)
    offer
    accept_new
    exec nself serve
    ;;
  upgrade)
    offer
    for file in "$shipped"/*.so; do
      id=$(basename "$file" .so)
      if is_known "$id"; then nself plugin upgrade "$id"; fi
    done
    ;;
  *) exec nself "$@" ;;
esac
