//! Benchmark: loadgen.

fn main() {
    divan::main();
}
