//! A model server that belongs to the run: started where its settings say, watched while it lives, ended with the run.
//!
//! Two halves meet in the driver's seat, a folder that both can reach. [`ModelServer`] is the driver's: it writes an
//! order, launches the wrapper and reads what that tells. [`host`] is the wrapper: it runs beside the server, picks its
//! port, starts it and gives signs of life.
//!
//! ```text
//! server-order.json     what to start; a new one takes the place of the one before
//! server.json           where the server is and how it is, every two seconds
//! server-stop           its appearance asks the wrapper to end the server
//! server-3.log          what the third server wrote
//! server-3.launch.log   what srun or the wrapper itself wrote
//! ```

mod files;
pub mod host;
mod job;
mod launch;
mod life;
mod memory;
mod model;
mod port;
mod reset;
mod wait;

pub use files::{Order, Phase, Status};
pub use job::{JobLauncher, JobScript};
pub use launch::Launcher;
pub use model::{ModelServer, ServerError, Start};
