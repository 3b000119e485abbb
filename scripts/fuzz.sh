#!/usr/bin/env bash
# libFuzzer over everything that reads what others sent (fuzz/):
#
#   scripts/fuzz.sh                      each target for a minute
#   scripts/fuzz.sh TARGET... SECONDS    some, each for so long; without SECONDS a minute
#
# Takes stable Rust and a C++ compiler. What a target finds is in target/fuzz/TARGET/crash-…: put it into fuzz/corpus/TARGET under a
# name that says what it is, where the ordinary tests look for it from then on. What fuzzing learned is kept in target/fuzz, too.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

triple=$(rustc -vV | sed -n 's/^host: //p')
built=fuzz/target/$triple/release
kept=target/fuzz

# As cargo-fuzz sets them, without the sanitizer: that takes nightly, and there is no unsafe code in what is fuzzed but the boundary's,
# which Miri looks at.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares"

targets=()
seconds=60
for word in "$@"; do
  case $word in
    *[!0-9]*) targets+=("$word") ;;
    *) seconds=$word ;;
  esac
done
all=(fuzz/fuzz_targets/*.rs)
all=("${all[@]##*/}")
all=("${all[@]%.rs}")
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
  case " ${all[*]} " in *" $target "*) ;; *) die "there is no target $target" "choose from ${all[*]}" ;; esac
done

step "Building"
# For the machine that it runs on by name: build scripts are not instrumented then.
cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$triple" || die "it does not build"
failed=()
for target in "${targets[@]}"; do
  step "$target"
  mkdir -p "$kept/$target/corpus"
  "$built/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$kept/$target/" \
    "$kept/$target/corpus" "fuzz/corpus/$target" >"$kept/$target/log" 2>&1 || failed+=("$target")
  grep -aE '^stat::(number_of_executed_units|average_exec_per_sec)' "$kept/$target/log" || true
done
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}" "look into $kept/"
