#!/bin/sh
# Runs fuzz targets: `run.sh SECONDS [TARGET...]`. Without names it runs all targets. The corpus
# starts from the committed fixtures if the target reads such files.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list)
for target in "$@"; do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    [ ! -d "fuzz/seeds/$target" ] || cp fuzz/seeds/"$target"/* "$corpus"
    for folder in fixtures/models/*/; do
        case $target in
        safetensors) cp "$folder/model.safetensors" "$corpus/$(basename "$folder")" ;;
        config) cp "$folder/config.json" "$corpus/$(basename "$folder")" ;;
        esac
    done
    # The values of a template may take 128 MiB in total.
    case $target in chat_template) memory=1024 ;; *) memory=2048 ;; esac
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=$memory
done
