#!/usr/bin/env bash
# Compares the throughput of the engine and of PyTorch, run alternately on the same machine.
# Usage: bench/engine_vs_torch.sh [repetitions] [seconds per run] [workloads]
# PYTHON names an interpreter with torch (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-3} seconds=${2:-4} workloads=${3:-"small tiny"}
cargo build --release -q -p gratis-cpu --example throughput
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
lines=$(mktemp); trap 'rm -f "$lines"' EXIT
for ((repetition = 0; repetition < repetitions; repetition++)); do
  for workload in $workloads; do
    for mode in train score; do
      for n_threads in 1 2; do
        "$target/release/examples/throughput" "$workload" "$mode" "$n_threads" "$seconds"
        "${PYTHON:-python3}" bench/peers/torch_throughput.py "$workload" "$mode" "$n_threads" "$seconds"
      done
    done
  done
done | tee "$lines"
# Prints, for each case, the ratio of the best rates, of the medians of the runs' medians, and of the
# medians of the rates per second of processor time, which other programs disturb least.
awk '
  { key = $2 " " $3 " " $4; if (!(key in seen)) { seen[key] = ++n; keys[n] = key }
    if ($5 > best[$1, key]) best[$1, key] = $5; medians[$1, key] = medians[$1, key] " " $6; cpu[$1, key] = cpu[$1, key] " " $7 }
  function median(list,   values, count, i, j, t) {
    count = split(list, values, " ")
    for (i = 1; i <= count; i++) for (j = i + 1; j <= count; j++)
      if (values[j] + 0 < values[i] + 0) { t = values[i]; values[i] = values[j]; values[j] = t }
    return values[int((count + 1) / 2)] }
  END {
    printf "\n%-16s %12s %12s %8s %8s %8s\n", "case", "gratis tok/s", "torch tok/s", "best", "median", "cpu"
    for (i = 1; i <= n; i++) { key = keys[i]
      printf "%-16s %12d %12d %8.2f %8.2f %8.2f\n", key, best["gratis", key], best["torch", key],
        best["gratis", key] / best["torch", key],
        median(medians["gratis", key]) / median(medians["torch", key]),
        median(cpu["gratis", key]) / median(cpu["torch", key]) } }' "$lines"
