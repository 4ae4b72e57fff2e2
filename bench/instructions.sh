#!/usr/bin/env bash
# Counts the instructions of the main kernels and of one small job with valgrind, and compares them with
# bench/instructions.txt. Usage: bench/instructions.sh [--accept] [job ...]
# --accept writes the counts into the file. TOLERANCE is the largest change in percent (default 2).
# Valgrind knows AVX2 but not AVX-512, and tells programs so: the AVX2 path is counted.
set -euo pipefail
cd "$(dirname "$0")/.."
accept=
[ "${1:-}" = --accept ] && { accept=1; shift; }
cargo build --release --quiet -p gratis-bench-peers --bin instructions
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$target/release/instructions
file=bench/instructions.txt
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

count() {
    valgrind --tool=none --log-file=/dev/null true 2>/dev/null || { echo "valgrind is needed" >&2; exit 2; }
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        awk '/Collected/ { print $NF }'
}

mapfile -t jobs < <("$program")
[ $# -gt 0 ] && jobs=("$@")
failed=0
printf '%-20s %14s %14s %8s\n' job instructions recorded change
for job in "${jobs[@]}"; do
    # One run more than another: without start and set-up.
    one=$(count "$job" 1)
    two=$(count "$job" 2)
    instructions=$((two - one))
    echo "$job $instructions" >> "$counts"
    recorded=$(awk -v job="$job" '$1 == job { print $2 }' "$file" 2>/dev/null || true)
    change=$(awk -v a="$instructions" -v b="${recorded:-0}" 'BEGIN { if (b > 0) printf "%+.2f%%", 100 * (a / b - 1); else print "new" }')
    printf '%-20s %14d %14s %8s\n' "$job" "$instructions" "${recorded:--}" "$change"
    if [ -z "$accept" ] && ! awk -v a="$instructions" -v b="${recorded:-0}" -v t="${TOLERANCE:-2}" \
        'BEGIN { exit !(b > 0 && a / b <= 1 + t / 100 && a / b >= 1 - t / 100) }'; then
        failed=1
    fi
done
if [ -n "$accept" ]; then
    # Jobs that were not counted keep what is recorded.
    { cat "$counts"; awk 'NR == FNR { seen[$1] = 1; next } !($1 in seen)' "$counts" "$file" 2>/dev/null || true; } | sort > "$file.new"
    mv "$file.new" "$file"
elif [ "$failed" = 1 ]; then
    echo "outside the tolerance of ${TOLERANCE:-2} %; after a change on purpose: bench/instructions.sh --accept" >&2
    exit 1
fi
