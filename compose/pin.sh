#!/usr/bin/env bash
# Shows, or writes, the digest that each image of compose.yaml and the Dockerfile has in its registry:
#
#   compose/pin.sh           compares, and fails when one differs or has none
#   compose/pin.sh --write   writes what the registries say into the files
#
# Needs Docker with buildx and a network that reaches the registries. A tag may move: look at what changed before you commit it.
set -euo pipefail
cd "$(dirname "$0")"

write=''
case ${1:-} in
  '') ;;
  --write) write=yes ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac

# References of images of others, with or without a digest. What is built here has a variable in its name.
images() {
  sed -nE 's/^ *image: (&[a-z-]+ )?([a-z][^$ ]*)$/\2/p' compose.yaml
  sed -nE 's/^FROM ([^ ]+).*/\1/p' Dockerfile
}

digest_of() { docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'; }

differ=0
while read -r image; do
  tag=${image%@*}
  digest=$(digest_of "$tag")
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "error: no digest of $tag" >&2; exit 69; }
  if [ "$image" = "$tag@$digest" ]; then
    echo "same     $image"
  elif [ -n "$write" ]; then
    sed -i "s|$image\( \|\$\)|$tag@$digest\1|" compose.yaml Dockerfile
    echo "written  $tag@$digest"
  else
    echo "differs  $image, the registry has $digest"
    differ=1
  fi
done < <(images | sort -u)
exit "$differ"
