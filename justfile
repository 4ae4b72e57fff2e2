# Everyday commands; `just check` must pass before a change is merged.

# fmt, clippy, tests, docs, deny
check:
    .ci/run

# formatting and lints only
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# the tests
test:
    cargo test --workspace

# the demo: one to two minutes on two cores after the build
demo *flags:
    cargo run --release -- demo {{flags}}

# accept new snapshots; review the diff afterwards
snapshots:
    INSTA_UPDATE=always cargo test --workspace

# fuzz targets, each for this many seconds; all targets unless some are named (fuzz/README.md)
fuzz seconds="60" *targets:
    fuzz/run.sh {{seconds}} {{targets}}
