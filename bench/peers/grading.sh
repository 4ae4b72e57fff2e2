#!/usr/bin/env bash
# Compares agreement and speed of gratis and Math-Verify on the same cases, one after the other.
#
#   python3 -m venv venv && venv/bin/pip install math-verify==0.9.0
#   bench/peers/grading.sh DATA venv/bin/python
#
# DATA contains the public data sets (`grading/`, `bon_gsm8k/`, `qwen_bon8_rm_scores/`). Both times are
# processor time of one thread, so a busy machine does not change their ratio much; Python's startup
# and imports are excluded.
set -euo pipefail
data=${1:?usage: bench/peers/grading.sh DATA [PYTHON]}
python=${2:-python3}
here=$(cd "$(dirname "$0")" && pwd)
n_repetitions=20
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --release -p gratis-grading --example grade_cases
grade_cases=${CARGO_TARGET_DIR:-target}/release/examples/grade_cases
"$python" "$here/grading_pairs.py" "$data" > "$work/pairs.jsonl"
cp "$data/grading/cases.jsonl" "$data/grading/field_cases.jsonl" "$work"

for name in cases field_cases pairs; do
    echo "== $name"
    TIMEFORMAT=%U
    user=$( { time "$grade_cases" "$work/$name.jsonl" "$n_repetitions" > "$work/gratis"; } 2>&1 )
    cat "$work/gratis"
    n_cases=$(sed -n 's|gratis: [0-9]*/\([0-9]*\) agree.*|\1|p' "$work/gratis")
    # One more pass counts the agreement.
    awk -v user="$user" -v n="$n_cases" -v passes="$((n_repetitions + 1))" \
        'BEGIN { printf "gratis: %.1f us of processor time a case\n", user / n / passes * 1e6 }'
    "$python" "$here/math_verify_cases.py" "$work/$name.jsonl" | tail -1
done
