#!/usr/bin/env bash
# The main workflow on real data: trains a small model from scratch on GSM8K's training solutions,
# then an implicit process reward model on the outcome labels of half of the published candidates,
# and evaluates it on the other half. Takes about a quarter of an hour on two cores.
#
#   examples/gsm8k/run.sh DATA [OUT]
#
# DATA contains `gsm8k/train.jsonl` and `bon_gsm8k/gsm8k_bon16.jsonl`; all output goes to OUT (default
# runs/gsm8k). An interrupted run resumes where it stopped.
set -euo pipefail
data=${1:?usage: examples/gsm8k/run.sh DATA [OUT]}
out=${2:-runs/gsm8k}
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${GRATIS:-}" ]; then
    cargo build --release --manifest-path "$here/../../Cargo.toml"
    GRATIS=$here/../../target/release/gratis
fi

stage() {
    local name=$1
    shift
    printf '\n== %s\n' "$name" >&2
    # User and system seconds of the stage, and its peak memory if GNU time is available.
    if [ -x /usr/bin/time ]; then
        /usr/bin/time -f "$name: %e s, %U + %S CPU s, %M KB" "$@"
    else
        time "$@"
    fi
}

mkdir -p "$out"
stage prepare python3 "$here/prepare.py" "$data" "$out"
[ -d "$out/fresh" ] || stage init "$GRATIS" init --preset mini --vocab 2048 --context-length 1024 \
    --train-tokenizer "$out/corpus.jsonl" "$out/fresh"
stage pretrain "$GRATIS" pretrain --model "$out/fresh" --data "$out/corpus.jsonl" \
    --run "$out/base" --resume --loss-on all \
    --epochs 1 --batch-size 8 --learning-rate 2e-3 --warmup 0.05 --beta2 0.98
stage train "$GRATIS" train --model "$out/base/model" --data "$out/train.jsonl" \
    --validation "$out/validation.jsonl" --run "$out/prm" --resume --step-split sentences \
    --skip-invalid --on-overlong truncate --epochs 1 --batch-size 64 --learning-rate 3e-4 --objective ce --beta 0.05
stage score "$GRATIS" score --model "$out/prm" --on-overlong truncate "$out/test.jsonl" -o "$out/scores.jsonl"
stage select "$GRATIS" select --rollouts "$out/test.jsonl" --scores "$out/scores.jsonl" -n 16 \
    --aggregation min,mean,sum
