//! A grid of deployments, each searched for what it can bear. The file is that of Vidur's config explorer.
//!
//! [`GridFile`] is the file, [`Grid`] its cells, [`explore`] searches them by means of an [`Evaluator`], the
//! [`Ledger`] keeps every probe.

mod bounds;
pub(crate) mod cell_search;
mod condition;
mod explorer;
mod file;
pub mod folder;
mod grid;
mod keep;
pub(crate) mod ledger;
mod numbers;
mod outcome;
pub mod pareto;
mod probe;
mod replicas;
mod simulated;
mod traces;

pub use cell_search::{CellSearch, Found, Halt, Means, SearchRules};
pub use condition::Condition;
pub use explorer::{Answer, CellOutcome, Exploration, Fate, Plan, Watcher, explore, per_gpu, quantity};
pub use file::{GridError, GridFile, SearchFor};
pub use grid::{Cell, Excluded, Grid, Workload};
pub use ledger::{Ledger, LedgerError, Line};
pub use numbers::Numbers;
pub use outcome::{Outcome, Row};
pub use probe::{Evaluator, Facts, Limit, Point, Probed};
pub use simulated::Simulated;
pub use traces::{Loaded, Traces, TracesError};
