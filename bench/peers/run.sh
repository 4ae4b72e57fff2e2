#!/usr/bin/env bash
# Measures gratis and its peers alternately on this machine and writes docs/performance.md, or
# docs/performance-avx2.md on a processor without AVX-512.
# Usage: bench/peers/run.sh [--quick] [--fresh] [--only ROWS] [--report]
#   --quick  a few rows, one round; --only score-S: rows whose names begin so; --fresh: forget results
# PEERS_VENV names an environment with the packages of requirements.txt (default: it is made below
# target/); PEERS_WORK a folder for models; PYTHON an interpreter of version 3.12 or later.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
environment=${PEERS_VENV:-$target/peers/venv}
if [ ! -x "$environment/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$environment"
fi
if [ -z "${PEERS_VENV:-}" ]; then
    "$environment/bin/pip" install --quiet --requirement bench/peers/requirements.txt
fi
cargo build --release --quiet -p gratis-bench-peers
export PEERS_WORK=${PEERS_WORK:-$target/peers/work}
exec "$environment/bin/python" bench/peers/bench.py --driver "$target/release/gratis-bench-peers" "$@"
