#!/bin/sh
# Makes the buckets of S3_BUCKETS that are not there yet, at any endpoint that speaks S3. Needs curl 7.75 or newer.
# The credentials go to curl by its standard input: an argument would be in the process list.
set -eu

s3() { # BUCKET OPTION...: prints the status of the answer
  url=$S3_ENDPOINT/$1
  shift
  printf 'user = "%s:%s"\n' "$(cat "$S3_USER_FILE")" "$(cat "$S3_PASSWORD_FILE")" |
    curl --config - --silent --show-error --output /dev/null --write-out '%{http_code}' --max-time 20 \
      --retry 5 --retry-connrefused --aws-sigv4 "aws:amz:$S3_REGION:s3" "$@" "$url"
}

for bucket in $S3_BUCKETS; do
  status=$(s3 "$bucket" --head)
  case $status in
    200) echo "$bucket is there" ;;
    404)
      status=$(s3 "$bucket" --request PUT)
      [ "$status" = 200 ] || {
        echo "cannot make $bucket: $S3_ENDPOINT answered $status" >&2
        exit 1
      }
      echo "made $bucket"
      ;;
    *)
      echo "cannot look at $bucket: $S3_ENDPOINT answered $status" >&2
      exit 1
      ;;
  esac
done
