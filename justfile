# List the recipes.
default:
    @just --list

# Everything a change must pass.
ci:
    ./scripts/test

# The tests whose names contain FILTER.
test FILTER="":
    cargo test {{ FILTER }}

# Benchmarks: reading results, the load generator against its control.
bench:
    cargo bench

# The main job against the embedded server.
demo:
    cargo run --release -- run

# A portable binary and its archive.
release:
    ./scripts/release
