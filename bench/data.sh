#!/usr/bin/env bash
# Compares binaries on the commands that only read, compute and write data, run in turn: the least user
# seconds of ROUNDS rounds (default 5) of each, and which wrote something else than the last one.
# Usage: bench/data.sh ROLLOUTS SCORES [NAME=]BINARY ...
# ROLLOUTS is a graded rollout file, SCORES the scores of all of its completions. REPEAT joins so many
# copies of both (default 1). A binary that does not know a command or a file gets `-`.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 1; }
rollouts=$1 scores=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for ((copy = 0; copy < ${REPEAT:-1}; copy++)); do
    cat "$rollouts" >> "$work/rollouts.jsonl"
    cat "$scores" >> "$work/scores.jsonl"
done
commands=(
    "select --threads 1 --rollouts $work/rollouts.jsonl --scores $work/scores.jsonl --json"
    "select --threads 2 --rollouts $work/rollouts.jsonl --scores $work/scores.jsonl --json"
    "data dedup $work/rollouts.jsonl -o -"
    "data dedup --scope dataset $work/rollouts.jsonl -o -"
    "grade --threads 1 $work/rollouts.jsonl -o -"
    "grade --threads 2 $work/rollouts.jsonl -o -"
)
for ((round = 0; round < ${ROUNDS:-5}; round++)); do
    for idx in "${!commands[@]}"; do
        for given in "$@"; do
            name=${given%%=*} binary=${given#*=}
            [ -x "$binary" ] || { echo "no program: $binary" >&2; exit 1; }
            TIMEFORMAT='%U %R'
            read -ra arguments <<< "${commands[idx]}"
            if times=$({ time "$binary" "${arguments[@]}" > "$work/out" 2> /dev/null; } 2>&1); then
                echo "$idx $name $times $(md5sum < "$work/out" | cut -c1-8)"
            else
                echo "$idx $name - - -"
            fi
        done
    done
done > "$work/times"
size=$(du -cm "$work/rollouts.jsonl" "$work/scores.jsonl" | tail -1 | cut -f1)
echo "Least of ${ROUNDS:-5}, user seconds (wall seconds); $size MB of rollouts and scores."
echo
names=() line='| command |' rule='|---|'
for given in "$@"; do
    names+=("${given%%=*}") line+=" ${given%%=*} |" rule+='---|'
done
printf '%s\n%s\n' "$line other output |" "$rule---|"
for idx in "${!commands[@]}"; do
    line="| \`${commands[idx]//$work\//}\` |"
    for name in "${names[@]}"; do
        line+=$(awk -v idx="$idx" -v name="$name" '
            $1 == idx && $2 == name && $3 != "-" {
                if (user == "" || $3 < user) user = $3
                if (wall == "" || $4 < wall) wall = $4
            }
            END { if (user == "") print " - |"; else printf " %.3f (%.3f) |", user, wall }' "$work/times")
    done
    # Those that did not write what the last binary wrote.
    others=$(awk -v idx="$idx" -v last="${names[-1]}" '
        $1 == idx && $5 != "-" { if ($2 == last) written = $5; digest[$2] = $5 }
        END { for (name in digest) if (digest[name] != written) print name }' "$work/times" | sort | paste -sd ' ')
    line+=" ${others:-} |"
    echo "$line"
done
