//! How a run is laid out on a Slurm cluster: what the cluster is like, the scripts of its jobs, and what its state means
//! to people.

pub mod checks;
pub mod estimate;
mod memory;
mod parts;
mod profile;
pub mod refusal;
mod scripts;
pub mod submission;
mod templates;
mod walltime;
pub mod watch;

pub use memory::Memory;
pub use profile::{DriverShare, Profile, ProfileError, ServerShare, TrialShare};
pub use scripts::{
    CapacityContext, DriveContext, ExploreContext, ReportContext, Scripts, ScriptsError, ServerContext,
    TrialContext,
};
pub use templates::{SCRIPTS, Script, TemplateError, Templates};
pub use walltime::Walltime;
