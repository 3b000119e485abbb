#!/usr/bin/env bash
# The long form of the suite that tries to break the host, whose short form is a part of the tests. It takes hours:
#
#   scripts/reliability.sh                    all of it, one part after the other; what each printed is in target/reliability/
#   scripts/reliability.sh PART...            some: kills storms ghosts slow requests sockets fuzz soak
#
# A part that fails does not keep the others from running. docs/reliability.md has what came of it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

parts=(kills storms ghosts slow requests sockets fuzz soak)
results=target/reliability

# Each client of a storm is a socket at both ends, in one process.
ulimit -n 12000 2>/dev/null || say "fewer than 12,000 open files are allowed: storms will not fit"

tests_of() { cargo test --quiet --locked "$@"; }

run_part() {
  case $1 in
    # Hosts are killed two hundred times over a thousand runs of workflows, each with effects outside.
    kills) cargo run --quiet --locked -p nself-plugin-orchestrator --example kills -- 200 1000 ;;
    storms) STREAM_STORM_CLIENTS=5000 tests_of -p nself-plugin-stream --test it storm -- --nocapture ;;
    ghosts) STREAM_GHOSTS=1000 tests_of -p nself-plugin-stream --test it ghosts -- --nocapture ;;
    slow) STREAM_SLOW_READERS=999 tests_of -p nself-plugin-stream --test it sleepers -- --nocapture ;;
    requests) HOSTILE_WHOLE=1 tests_of -p nself-compose --test it hostile -- --nocapture ;;
    sockets) AUTOBAHN_WHOLE=1 scripts/autobahn.sh ;;
    fuzz) scripts/fuzz.sh 600 ;;
    # Jobs alone as many as there can be, then everything at once with a version exchanged every minute: target/soak.html has the plots.
    soak) cargo run --quiet --locked --release -p nself-bench -- soak=600 mixed=600 ;;
  esac
}

[ $# -gt 0 ] || set -- "${parts[@]}"
for part in "$@"; do
  case " ${parts[*]} " in *" $part "*) ;; *) die "there is no part $part" "choose from ${parts[*]}" ;; esac
done
mkdir -p "$results"
step "Building"
cargo build --quiet --locked --workspace || die "it does not build"
case " $* " in *" soak "*)
  cargo build --quiet --locked --release -p nself -p nself-bench \
    --package=nself-plugin-{auth,bench,hello,jobs,mail,orchestrator,scheduler,stream} || die "it does not build"
  ;;
esac
failed=()
for part in "$@"; do
  step "$part"
  run_part "$part" >"$results/$part.log" 2>&1 || failed+=("$part")
  tail -n 3 "$results/$part.log"
done
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}" "look into $results/"
