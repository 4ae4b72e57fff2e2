#!/usr/bin/env bash
# Tests the newest wheel in dist/ in a fresh virtual environment: test.sh [WHEEL]
#
# Runs the tests of the module, the Python example of README.md, and the checks of the types.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
wheel=${1:-$(ls -t "$root"/dist/gratis-*.whl | head -1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "$wheel[test]"
export PATH="$work/venv/bin:$PATH"
unset PYTHONPATH VIRTUAL_ENV
mkdir "$work/away"
cp -r tests "$work/away/tests"
cp "$root/README.md" "$work/away/README.md"
cp pyproject.toml "$work/away/pyproject.toml"
cd "$work/away"
python -VV
pip list 2>/dev/null | grep -iE '^(gratis|numpy|datasets|mypy|pytest) '
gratis --version
python -m pytest -q tests
python -m mypy -p gratis
python -m mypy.stubtest gratis._native --ignore-missing-stub
