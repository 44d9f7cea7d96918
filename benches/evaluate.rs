//! Benchmark: evaluate.

fn main() {
    divan::main();
}
