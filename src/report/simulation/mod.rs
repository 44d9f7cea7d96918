//! What a simulated cluster shows: distributions, a summary, rows, curves. Nothing here grows with the number of
//! requests: distributions become histograms, curves have a fixed number of points, rows go to their file as they come.

mod chart;
mod chrome_trace;
mod gather;
mod plots;
mod requests;
mod spread;
mod state;
mod summary;
mod text;
mod timeline;

pub use chart::{Chart, Line};
pub use chrome_trace::ChromeTrace;
pub use gather::{Arrivals, Gather, Writers};
pub use plots::plots;
pub use requests::RequestRows;
pub use spread::{Quantiles, Spread};
pub use state::State;
pub use summary::{Counts, Facts, KvUse, Summary, Throughput};
pub use text::table;
pub use timeline::Timeline;
