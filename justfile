# Common commands; `just check` must pass before a change is merged.

# fmt, clippy, tests, docs, deny
check:
    .ci/run

# formatting and clippy only
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# the tests
test:
    cargo test --workspace

# the demo: the whole method in the tiny world
demo *flags:
    cargo run --release -- demo {{flags}}

# the Python wheel with the module and the command, dist/*.whl
wheel *profile:
    crates/gratis-py/wheel.sh {{profile}}

# test the newest wheel in a fresh virtual environment (downloads packages)
test-wheel:
    crates/gratis-py/test.sh

# accept new snapshots (review them first)
snapshots:
    INSTA_UPDATE=always cargo test --workspace

# run fuzz targets for `seconds` each; all targets unless named (fuzz/README.md)
fuzz seconds="60" *targets:
    fuzz/run.sh {{seconds}} {{targets}}
