# The commands of everyday work; `just check` is what must be green before a change lands.

# fmt, clippy, tests, docs, deny
check:
    .ci/run

# only what the compiler and the linter say
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# the tests
test:
    cargo test --workspace

# the demo: the whole method in the tiny world
demo *flags:
    cargo run --release -- demo {{flags}}

# accept new snapshots after looking at them
snapshots:
    INSTA_UPDATE=always cargo test --workspace

# fuzz targets, each for so many seconds; all of them unless named (fuzz/README.md)
fuzz seconds="60" *targets:
    fuzz/run.sh {{seconds}} {{targets}}
