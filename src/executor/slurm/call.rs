//! One call of a Slurm program: in a clean environment, with a time limit.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Slurm, SlurmError};

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Beginnings of the names of variables that Slurm's programs read, or that it sets for a job.
const SLURMS: [&str; 14] = [
    "SLURM_",
    "SLURMD_",
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "SQUEUE_",
    "SINFO_",
    "SACCT_",
    "SCANCEL_",
    "SCONTROL_",
    "SPANK_",
    "_SLURM_SPANK_",
    "SLURMSTEPD_",
    "SLURMCTLD_",
];

/// Whether a variable of the environment may reach a nested submission: those of Slurm's own commands would change what
/// is submitted (`SLURM_MEM_PER_CPU` beside a script's `--mem`), those with our keys would be stored by Slurm.
pub fn environment_is_ours(name: &str) -> bool {
    if name == "SLURM_CONF" {
        return true;
    }
    !SLURMS.iter().any(|prefix| name.starts_with(prefix)) && !matches!(name, "API_KEY" | "MST_API_KEY")
}

/// Words of Slurm's messages that mean that the controller was not reached, or that its answer was not understood:
/// whether it did what it was asked is not known.
const NOT_REACHED: [&str; 20] = [
    "Unable to contact slurm controller",
    "Unable to establish",
    "Could not establish a configuration source",
    "timed out",
    "authentication error",
    "Munge encode failed",
    "connect failure",
    "connection failure",
    "Connection refused",
    "Connection reset",
    "Broken pipe",
    "Zero Bytes were transmitted",
    "Transport endpoint",
    "Resource temporarily unavailable",
    "send failure",
    "receive failure",
    "Unexpected message",
    "in standby mode",
    "Network is unreachable",
    "No route to host",
];

/// What Slurm says first when munge is down; what is wrong comes behind it.
const HINT: &str = "If munged is up";

/// Words of a refusal for now: so many jobs are submitted that one more is not allowed.
const FOR_NOW: [&str; 4] = [
    "MaxSubmitJob",
    "job submit limit",
    "temporarily unable to accept job",
    "Job limit exceeded",
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
            .envs(std::env::vars_os().filter(|(name, _)| {
                name.to_str().is_none_or(|name| {
                    environment_is_ours(name) && !self.withheld.iter().any(|withheld| withheld == name)
                })
            }))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C must not end a submission half-way.
            .process_group(0);
        if program != "sbatch" {
            // What is set for sbatch reaches the job, whose locale is not ours to choose.
            command.env("LC_ALL", "C");
        }
        let end = Instant::now() + self.patience;
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SlurmError::Missing {
                program: program.to_owned(),
            },
            _ => Self::no_answer(program, error.to_string()),
        })?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    // With all that it may have started: it can be a site's script around the real one.
                    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
                    let _ = child.wait();
                    let why = format!("no answer within {} s", self.patience.as_secs());
                    return Err(Self::no_answer(program, why));
                }
                Err(error) => return Err(Self::no_answer(program, error.to_string())),
            }
        };
        let said = Said {
            stdout: text(&stdout, end),
            stderr: text(&stderr, end),
        };
        judge(program, status.code(), said)
    }
}

/// Reads a stream to its end, in a thread: two full pipes would block each other.
fn drain(stream: Option<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What could be read has to do.
            let _ = stream.read_to_end(&mut bytes);
        }
        // Nobody listens after the time limit.
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

/// What a stream held. Something that outlives the program may keep the pipe open: not waited for beyond the limit.
fn text(stream: &Receiver<String>, end: Instant) -> String {
    let left = end.saturating_duration_since(Instant::now());
    stream
        .recv_timeout(left.max(Duration::from_secs(1)))
        .unwrap_or_default()
}

/// Yes, no, or no answer.
fn judge(program: &str, status: Option<i32>, said: Said) -> Result<Said, SlurmError> {
    if status == Some(0) {
        return Ok(said);
    }
    let line = said
        .stderr
        .lines()
        .chain(said.stdout.lines())
        .map(|line| {
            let line = line.trim();
            let line = line
                .strip_prefix(program)
                .map_or(line, |l| l.trim_start_matches(": "));
            line.trim_start_matches("error: ")
        })
        .find(|line| !line.is_empty() && !line.starts_with(HINT))
        .unwrap_or("no message")
        .to_owned();
    let Some(status) = status else {
        return Err(Slurm::no_answer(program, "it was ended by a signal".to_owned()));
    };
    let says = |words: &[&str]| {
        words
            .iter()
            .any(|w| said.stderr.contains(w) || said.stdout.contains(w))
    };
    // First: a message such as "Job violates accounting/QOS policy (job submit limit, …)" leaves no doubt.
    if says(&FOR_NOW) {
        return Err(SlurmError::ForNow {
            program: program.to_owned(),
            line,
        });
    }
    if says(&NOT_REACHED) {
        return Err(Slurm::no_answer(program, line));
    }
    Err(SlurmError::Refused {
        program: program.to_owned(),
        status,
        line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(program: &str, status: Option<i32>, stderr: &str) -> SlurmError {
        let said = Said {
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        judge(program, status, said).unwrap_err()
    }

    #[test]
    fn a_refusal_gives_its_first_line() {
        let text = "sbatch: error: invalid partition specified: nosuch\n\
                    sbatch: error: Batch job submission failed: Invalid partition name specified\n";
        let SlurmError::Refused { status, line, .. } = judged("sbatch", Some(1), text) else {
            panic!("not refused");
        };
        assert_eq!(
            (status, line.as_str()),
            (1, "invalid partition specified: nosuch")
        );
        assert!(matches!(
            judged("squeue", Some(1), "slurm_load_jobs error: Invalid job id specified\n"),
            SlurmError::Refused { line, .. } if line == "slurm_load_jobs error: Invalid job id specified"
        ));
        assert!(matches!(
            judged(
                "sbatch",
                Some(255),
                "sbatch: error: Invalid --time specification\n"
            ),
            SlurmError::Refused { status: 255, .. }
        ));
    }

    #[test]
    fn trouble_on_the_way_is_no_answer() {
        for text in [
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "sbatch: error: If munged is up, restart with --num-threads=10\n\
             sbatch: error: Munge encode failed: Failed to access \"/run/munge.sock\": No such file or directory\n\
             sbatch: error: slurm_send_node_msg: authentication: Protocol authentication error",
            "slurm_load_jobs error: Zero Bytes were transmitted or received",
            "sacct: error: Problem talking to the database: Connection refused",
        ] {
            let answer = judged("sbatch", Some(1), text);
            assert!(
                matches!(&answer, SlurmError::NoAnswer { why, .. } if !why.starts_with("If munged")),
                "{text}: {answer:?}"
            );
        }
        assert!(matches!(judged("sbatch", None, ""), SlurmError::NoAnswer { .. }));
    }

    #[test]
    fn a_limit_on_submitted_jobs_is_a_refusal_for_now() {
        let text = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job \
                    violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n";
        let answer = judged("sbatch", Some(1), text);
        assert!(matches!(answer, SlurmError::ForNow { .. }), "{answer:?}");
        assert!(answer.to_string().contains("later"));
    }

    #[test]
    fn slurms_variables_and_our_keys_stay_here() {
        for name in [
            "SLURM_JOB_ID",
            "SBATCH_ACCOUNT",
            "SRUN_DEBUG",
            "SLURM_MEM_PER_CPU",
            "API_KEY",
            "MST_API_KEY",
        ] {
            assert!(!environment_is_ours(name), "{name}");
        }
        for name in ["SLURM_CONF", "PATH", "HOME", "SLURMISH", "HF_HOME"] {
            assert!(environment_is_ours(name), "{name}");
        }
    }

    #[test]
    fn a_program_that_hangs_is_no_answer() {
        let slurm = Slurm {
            patience: Duration::from_millis(200),
            ..Slurm::default()
        };
        let answer = slurm.call("sh", &["-c".to_owned(), "sleep 600 & wait".to_owned()]);
        assert!(matches!(answer, Err(SlurmError::NoAnswer { .. })), "{answer:?}");
        // Nor does one that left something behind hold up its answer.
        let slurm = Slurm {
            patience: Duration::from_secs(5),
            ..Slurm::default()
        };
        assert!(
            slurm
                .call("sh", &["-c".to_owned(), "sleep 3 & echo done".to_owned()])
                .is_ok()
        );
        let absent = slurm.call("no-such-program-here", &[]);
        assert!(matches!(absent, Err(SlurmError::Missing { .. })));
    }
}
