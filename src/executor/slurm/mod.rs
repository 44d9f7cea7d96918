//! Slurm, by its own commands and their text output. Every call has a time limit and three results: yes, no, no answer.

mod call;
mod partition;
mod query;
pub mod state;
mod submit;
pub mod time;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use call::environment_is_ours;
pub use partition::Partition;
pub use query::{Job, JobId};
pub use state::{Phase, State};
pub use submit::{Submission, SubmitError, look_up, submit, submit_unless, verify};

/// Why Slurm did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlurmError {
    /// Its programs are not here.
    #[error("`{program}` is not on this machine's PATH; log in to a node that has Slurm, or load its module")]
    Missing {
        /// The program.
        program: String,
    },
    /// It said no.
    #[error("{program} refused: {line} (status {status})")]
    Refused {
        /// The program.
        program: String,
        /// Its exit status.
        status: i32,
        /// Its first error line.
        line: String,
    },
    /// It said no for now: too many jobs are submitted already.
    #[error("{program} refused for now: {line}; try again later, when some of your jobs have ended")]
    ForNow {
        /// The program.
        program: String,
        /// Its first error line.
        line: String,
    },
    /// It did not answer, or could not reach its controller: nothing is known.
    #[error("{program} did not answer: {why}")]
    NoAnswer {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
}

/// The way to Slurm.
#[derive(Clone, Debug)]
pub struct Slurm {
    /// How long a command may take.
    pub patience: Duration,
    /// Variables of its commands beside those of this process: another `SLURM_CONF`, another `PATH`.
    pub environment: Vec<(String, String)>,
    /// Variables of the environment that its programs, and so the jobs, do not get: those that hold secrets.
    pub withheld: Vec<String>,
}

impl Default for Slurm {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            environment: Vec::new(),
            withheld: Vec::new(),
        }
    }
}

/// A job as it is submitted: a script, what goes onto the command line beside it, and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The script.
    pub script: PathBuf,
    /// Options of sbatch beside those in the script.
    pub options: Vec<String>,
    /// Arguments of the script.
    pub arguments: Vec<String>,
}

impl Batch {
    /// The arguments of `sbatch`.
    pub fn argv(&self) -> Vec<String> {
        let mut argv = self.options.clone();
        argv.push(self.script.display().to_string());
        argv.extend(self.arguments.iter().cloned());
        argv
    }
}

impl Slurm {
    /// Whether its programs are on the PATH. They may be there although no cluster is.
    pub fn is_here() -> bool {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("sbatch").is_file()))
    }

    /// Submits once, without any protection against doubt: see [`submit`] for that.
    ///
    /// # Errors
    /// When it refuses, or does not answer: then the job may exist all the same.
    pub fn sbatch(&self, batch: &Batch) -> Result<JobId, SlurmError> {
        let mut argv = vec!["--parsable".to_owned()];
        argv.extend(batch.argv());
        let said = self.call("sbatch", &argv)?;
        JobId::submitted(&said.stdout)
            .ok_or_else(|| Self::no_answer("sbatch", format!("it printed `{}`", said.stdout.trim())))
    }

    /// What `sbatch --test-only` says: when and where the job would start.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn test_only(&self, batch: &Batch) -> Result<String, SlurmError> {
        let mut argv = vec!["--test-only".to_owned()];
        argv.extend(batch.argv());
        let said = self.call("sbatch", &argv)?;
        Ok(said.stderr.trim().trim_start_matches("sbatch: ").to_owned())
    }

    /// All jobs of this user that the controller knows, finished ones too: one `squeue`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn mine(&self) -> Result<Vec<Job>, SlurmError> {
        let argv = ["-h", "--me", "-t", "all", "-o", query::FORMAT].map(str::to_owned);
        Ok(Job::parse_all(&self.call("squeue", &argv)?.stdout))
    }

    /// The jobs of these names, finished ones too: one `squeue`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn named(&self, names: &[String]) -> Result<Vec<Job>, SlurmError> {
        let argv = ["-h", "-t", "all", "-n", &names.join(","), "-o", query::FORMAT].map(str::to_owned);
        let mut jobs = Job::parse_all(&self.call("squeue", &argv)?.stdout);
        jobs.retain(|job| names.contains(&job.name));
        Ok(jobs)
    }

    /// Ids and states of the jobs of this name, by the accounting, which may be absent, and lags behind the controller.
    ///
    /// # Errors
    /// When there is no accounting, or it does not answer.
    pub fn accounted(&self, name: &str) -> Result<Vec<(JobId, State)>, SlurmError> {
        let options = ["-n", "-P", "-X", "-S", "now-30days", "-o", query::ACCOUNT_FORMAT];
        let mut argv = options.map(str::to_owned).to_vec();
        argv.push(format!("--name={name}"));
        Ok(query::accounted(&self.call("sacct", &argv)?.stdout, name))
    }

    /// The steps of this name that run within a job.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn steps(&self, job: &JobId, name: &str) -> Result<Vec<JobId>, SlurmError> {
        let argv = ["-s", "-h", "-j", job.as_str(), "-o", "%i|%j"].map(str::to_owned);
        match self.call("squeue", &argv) {
            Ok(said) => Ok(query::steps(&said.stdout, name)),
            Err(SlurmError::Refused { line, .. }) if line.contains("Invalid job id") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// When a running job ends at the latest; `None` when it has no limit, does not run, or is not known. Told from the
    /// seconds that are left, which no time zone can distort. The limit of a running job can be changed: ask again.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn deadline(&self, id: &JobId) -> Result<Option<SystemTime>, SlurmError> {
        let jobs = self.jobs(std::slice::from_ref(id))?;
        let running = jobs.iter().find(|job| job.state.phase() == Phase::Running);
        let left = running.and_then(|job| job.left_s);
        Ok(left.and_then(|s| SystemTime::now().checked_add(Duration::from_secs(s))))
    }

    /// Whether a controller answers.
    ///
    /// # Errors
    /// When none does.
    pub fn ping(&self) -> Result<(), SlurmError> {
        match self.call("scontrol", &["ping".to_owned()]) {
            Ok(_) => Ok(()),
            // Status 1, with "Slurmctld(primary) at … is DOWN".
            Err(SlurmError::Refused { program, line, .. }) => Err(Self::no_answer(&program, line)),
            Err(error) => Err(error),
        }
    }

    /// The jobs of these ids; those that the controller no longer knows are missing.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn jobs(&self, ids: &[JobId]) -> Result<Vec<Job>, SlurmError> {
        if ids.is_empty() {
            // Without a list, squeue names every job there is.
            return Ok(Vec::new());
        }
        let list: Vec<&str> = ids.iter().map(JobId::as_str).collect();
        let argv = ["-h", "-t", "all", "-j", &list.join(","), "-o", query::FORMAT].map(str::to_owned);
        match self.call("squeue", &argv) {
            Ok(said) => Ok(Job::parse_all(&said.stdout)),
            // A single id that is unknown is an error to squeue, several are dropped silently.
            Err(SlurmError::Refused { line, .. }) if line.contains("Invalid job id") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Cancels jobs. Slurm says yes also to jobs that it does not know.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn cancel(&self, ids: &[JobId]) -> Result<(), SlurmError> {
        if ids.is_empty() {
            return Ok(());
        }
        let argv: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        self.call("scancel", &argv).map(|_| ())
    }

    /// Cancels the jobs of this name: an id may have been given to somebody else's job by a controller that crashed.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn cancel_named(&self, name: &str) -> Result<(), SlurmError> {
        self.call("scancel", &[format!("--name={name}")]).map(|_| ())
    }

    /// Puts a running job back into the queue under its id.
    ///
    /// # Errors
    /// When it refuses (the job was submitted with `--no-requeue`) or does not answer.
    pub fn requeue(&self, id: &JobId) -> Result<(), SlurmError> {
        self.call("scontrol", &["requeue".to_owned(), id.as_str().to_owned()])
            .map(|_| ())
    }

    /// The hosts of a host list such as `n[1-3]`.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn hosts(&self, list: &str) -> Result<Vec<String>, SlurmError> {
        let argv = ["show", "hostnames", list].map(str::to_owned);
        Ok(self
            .call("scontrol", &argv)?
            .stdout
            .lines()
            .map(str::to_owned)
            .collect())
    }
}
