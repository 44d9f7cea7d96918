//! The native load generator against a server of known timing, beside a control: a bare hyper loop.
//!
//! `cargo bench --bench loadgen`; `-- quick` runs two rates only, `-- 200 500` these rates.

#[path = "loadgen/mock.rs"]
mod mock;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("mock") {
        mock::serve();
    }
}
