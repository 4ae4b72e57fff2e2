#!/usr/bin/env bash
# Load and faults on `gratis serve`, compared with `gratis score` on the same file.
# usage: bench/serve/run.sh [PROBLEMS [ROUNDS [SOAK_SECONDS]]]
# GRATIS and LOAD name the binaries (default: release builds); PRESET is the size of the model.
set -euo pipefail
cd "$(dirname "$0")/../.."
problems=${1:-2200}
rounds=${2:-10}
soak=${3:-0}
gratis=${GRATIS:-target/release/gratis}
load=${LOAD:-target/release/examples/load}
threads=${THREADS:-$(nproc)}
if [ -z "${GRATIS:-}" ]; then
    cargo build --release --quiet -p gratis-cli --bin gratis -p gratis-serve --example load
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"; [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true' EXIT
export HF_HUB_OFFLINE=1

# Problems with one to four candidates of one to four steps.
awk -v n="$problems" 'BEGIN {
    srand(1)
    for (p = 0; p < n; p++) {
        printf "{\"id\": \"p%d\", \"prompt\": \"How much are %d and %d? \", \"completions\": [", p, p % 997, int(rand() * 1000)
        k = 1 + int(rand() * 4)
        for (c = 0; c < k; c++) {
            printf "%s\"", c ? ", " : ""
            s = 1 + int(rand() * 4)
            for (i = 0; i < s; i++) printf "%sStep %d: %d and %d make %d.", i ? "\\n\\n" : "", i, int(rand() * 999), int(rand() * 999), int(rand() * 999)
            printf "\""
        }
        print "]}"
    }
}' > "$folder/candidates.jsonl"
head -n 200 "$folder/candidates.jsonl" > "$folder/corpus.jsonl"
init=(init --preset "${PRESET:-nano}" --vocab 300 --context-length 1024)
"$gratis" -q "${init[@]}" --train-tokenizer "$folder/corpus.jsonl" --seed 1 "$folder/model"
"$gratis" -q "${init[@]}" --tokenizer "$folder/model" --seed 2 "$folder/reference"
model=(--threads "$threads" --model "$folder/model" --reference "$folder/reference")

begin=$(date +%s.%N)
"$gratis" -q score "${model[@]}" --tokens "$folder/candidates.jsonl" -o "$folder/scores.jsonl"
end=$(date +%s.%N)
awk -v n="$problems" -v t="$(echo "$end - $begin" | bc)" 'BEGIN { printf "gratis score: %.2f s, %.1f problems/s\n", t, n / t }'

start() {
    "$gratis" serve "${model[@]}" --port 0 --cache "$1" 2> "$folder/log" &
    server=$!
    until grep -q 'listening on' "$folder/log"; do sleep 0.05; done
    address=$(sed -n 's|.*listening on http://\([0-9.:]*\).*|\1|p' "$folder/log")
}
stop() {
    kill "$server"; wait "$server"; server=
}
memory() {
    awk '/VmRSS/ { print $2 }' "/proc/$server/status"
}

start 0
echo "== no faults"
"$load" "$address" "$folder/candidates.jsonl" "$folder/scores.jsonl" 64 0
echo "== $rounds rounds, a fault after every third request"
"$load" "$address" "$folder/candidates.jsonl" "$folder/scores.jsonl" 64 3 0 "$rounds"
stop

if [ "$soak" -gt 0 ]; then
    echo "== soak of $soak s, a cache of 4 MiB, resident KiB every 20 s"
    start 4
    "$load" "$address" "$folder/candidates.jsonl" "$folder/scores.jsonl" 64 3 "$soak" > "$folder/soak" &
    running=$!
    second=0
    while kill -0 "$running" 2>/dev/null; do
        sleep 20
        second=$((second + 20))
        echo "$second $(memory)" >> "$folder/memory"
    done
    cat "$folder/soak"
    # The first minute fills buffers and the cache.
    awk '$1 > 60 { n++; x += $1; y += $2; xx += $1 * $1; xy += $1 * $2; if (n == 1) first = $2; last = $2 }
         END { if (n > 1) printf "from %d to %d KiB, slope %.3f KiB/s\n", first, last, (n * xy - x * y) / (n * xx - x * x) }' "$folder/memory"
    cat "$folder/memory"
    stop
fi
