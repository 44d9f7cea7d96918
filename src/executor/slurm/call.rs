//! One call of a Slurm program: in a clean environment, with a time limit.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Slurm, SlurmError};

/// What a program said.
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Whether a variable of the environment may reach a nested submission: those of Slurm's own commands would change what
/// is submitted (`SLURM_MEM_PER_CPU` beside a script's `--mem`), those with our keys would be stored by Slurm.
pub fn environment_is_ours(name: &str) -> bool {
    if name == "SLURM_CONF" {
        return true;
    }
    let slurms = [
        "SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_",
    ];
    !slurms.iter().any(|prefix| name.starts_with(prefix)) && !matches!(name, "API_KEY" | "MST_API_KEY")
}

/// Words of Slurm's messages that mean that the controller was not reached.
const NOT_REACHED: [&str; 9] = [
    "Unable to contact slurm controller",
    "Socket timed out",
    "authentication error",
    "Munge encode failed",
    "connect failure",
    "Connection refused",
    "Zero Bytes were transmitted",
    "Transport endpoint",
    "Resource temporarily unavailable",
];

impl Slurm {
    pub(super) fn no_answer(program: &str, why: String) -> SlurmError {
        SlurmError::NoAnswer {
            program: program.to_owned(),
            why,
        }
    }

    /// Runs a program to its end.
    pub(super) fn call(&self, program: &str, argv: &[String]) -> Result<Said, SlurmError> {
        let mut command = Command::new(program);
        command
            .args(argv)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_none_or(environment_is_ours)))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SlurmError::Missing {
                program: program.to_owned(),
            },
            _ => Self::no_answer(program, error.to_string()),
        })?;
        let reader = |stream: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut stream) = stream {
                    // What could be read has to do.
                    let _ = stream.read_to_end(&mut bytes);
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = reader(child.stdout.take().map(|s| Box::new(s) as _));
        let stderr = reader(child.stderr.take().map(|s| Box::new(s) as _));
        let end = Instant::now() + self.patience;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let why = format!("no answer within {} s", self.patience.as_secs());
                    return Err(Self::no_answer(program, why));
                }
                Err(error) => return Err(Self::no_answer(program, error.to_string())),
            }
        };
        let (stdout, stderr) = (
            stdout.join().unwrap_or_default(),
            stderr.join().unwrap_or_default(),
        );
        if status.success() {
            return Ok(Said { stdout, stderr });
        }
        let line = stderr
            .lines()
            .chain(stdout.lines())
            .map(|line| {
                line.trim_start_matches(&format!("{program}: "))
                    .trim_start_matches("error: ")
            })
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no message")
            .to_owned();
        if NOT_REACHED.iter().any(|words| stderr.contains(words)) {
            return Err(Self::no_answer(program, line));
        }
        Err(SlurmError::Refused {
            program: program.to_owned(),
            status: status.code().unwrap_or(-1),
            line,
        })
    }
}
