#!/usr/bin/env bash
# Builds the wheel with the Python module and the command `gratis` into dist/: wheel.sh [PROFILE]
#
# It runs on machines with the C library of this one or a newer one. maturin is installed into
# target/wheel if it is not on the PATH.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
profile=${1:-release}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

maturin=$(command -v maturin || true)
if [ -z "$maturin" ]; then
    maturin=$root/target/wheel/bin/maturin
    if [ ! -x "$maturin" ]; then
        python3 -m venv "$root/target/wheel"
        "$root/target/wheel/bin/pip" install --quiet 'maturin>=1.9,<2'
    fi
fi

(cd "$root" && cargo build --locked --profile "$profile" -p gratis-cli)
folder=$profile
[ "$profile" = dev ] && folder=debug
rm -rf gratis.data && mkdir -p gratis.data/scripts
cp "$CARGO_TARGET_DIR/$folder/gratis" gratis.data/scripts/gratis
[ "$profile" = dev ] || strip gratis.data/scripts/gratis 2>/dev/null || true
"$maturin" build --locked --profile "$profile" --compatibility linux --out "$root/dist"
