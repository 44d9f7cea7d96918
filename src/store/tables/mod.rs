//! The tables of a trial's folder, in every form that the users' programs have had: `output.csv`, its halves,
//! `results.csv` and `prompts.csv`. Columns are known here and nowhere else.

mod columns;
mod error;
mod files;
mod iteration;
mod output_csv;
mod output_read;
mod prompts;
mod pyfloat;
mod requests;
mod results_row;
mod server_metrics;
mod time;
mod token_stats;

pub use error::TableError;
pub use files::{
    Finish, UserFiles, clear_finished, mark_finished, put, write_results_from_json, write_user_files,
};
pub use iteration::{Iteration, OurFacts, profile_name};
pub use output_csv::{Part, write_requests};
pub use output_read::{ResponseTable, read_halves, read_responses};
pub use prompts::{read_prompts, write_prompts};
pub use pyfloat::{PyBool, PyFloat, Short};
pub use requests::{Pace, RequestLine, RequestTable};
pub use results_row::{Generation, ResultsRow, read_results_csv};
pub(crate) use results_row::{range, seconds};
pub use server_metrics::{ServerLook, longest_queue, read_server_metrics, write_server_metrics};
pub use token_stats::TokenStats;

/// Names of folders and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Ours: `IN_OUT/<timestamp>/`, the latest columns and more.
    Mst,
    /// The older program, newest form.
    Latest,
    /// The older program, March 2026.
    New,
    /// The older program as its README describes it.
    Doc,
}
