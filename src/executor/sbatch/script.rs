//! What a trial's job runs: a wrapper that reads the variables from a file, runs the load generator, and leaves its exit
//! status behind. It is a file of its own, so that no template, however edited, can get it wrong.

use std::path::PathBuf;

use super::staged::Staged;
use crate::executor::shell::quote;

/// What a template needs to know of a trial's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialScript {
    /// The job's name.
    pub tag: String,
    /// What to run: a wrapper around the load generator, which needs nothing else.
    pub argv: Vec<String>,
    /// A file of mode 0600 with the load generator's variables, an API key among them, for a shell to read. The wrapper
    /// reads it, too.
    pub env_file: PathBuf,
    /// Where it works.
    pub cwd: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
    /// Appears, complete, with the exit status when it ended. The wrapper writes it; a template may write it again.
    pub done_file: PathBuf,
}

/// The wrapper. It stops at once, and stops what it runs, when the file of variables is gone: then nobody waits for this
/// job any more, be it one that Slurm took without saying so, or one that goes on on a node that Slurm gave up.
const WRAPPER: &str = r#"#!/bin/sh
# Written by mst: runs a load generator as the job @tag@ and says how it ended.
guard=@guard@
done=@done@
say() { printf '%s\n' "$1" >"$done.part" && mv -f "$done.part" "$done"; }

exec </dev/null >>@log@ 2>&1
if [ "${SLURM_RESTART_COUNT:-0}" != 0 ]; then
    echo "mst: the job was requeued, and half a trial is no trial"
    say requeued
    exit 1
fi
if [ ! -e "$guard" ]; then
    echo "mst: nobody waits for this job any more"
    exit 1
fi
. "$guard"
cd @cwd@ || { say 125; exit 125; }

@argv@ &
child=$!
stopped=
trap 'stopped=" stopped"; kill -TERM "$child" 2>/dev/null' TERM INT HUP
(
    missed=0
    while [ "$missed" -lt 3 ]; do
        sleep 2
        if [ -e "$guard" ]; then missed=0; else missed=$((missed + 1)); fi
    done
    echo "mst: nobody waits for this job any more"
    kill -TERM "$child" 2>/dev/null
    sleep 3
    kill -KILL "$child" 2>/dev/null
) &
watch=$!
wait "$child"
status=$?
# A signal ends the waiting, not the child.
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
done
kill -KILL "$watch" 2>/dev/null
say "$status$stopped"
exit "$status"
"#;

/// The text of the wrapper.
pub(super) fn wrapper(staged: &Staged, argv: &[String], cwd: &str, log: &str) -> String {
    let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
    WRAPPER
        .replace("@tag@", staged.tag())
        .replace("@guard@", &quote(&staged.variables().to_string_lossy()))
        .replace("@done@", &quote(&staged.done().to_string_lossy()))
        .replace("@log@", &quote(log))
        .replace("@cwd@", &quote(cwd))
        // Last: it may hold anything.
        .replace("@argv@", &words.join(" "))
}

/// Variables as a shell reads them.
///
/// # Errors
/// When a name is none that a shell can set.
pub(super) fn variables(env: &[(String, String)]) -> Result<String, String> {
    let mut text = "# Variables of a load generator. Removed when its job ends.\n".to_owned();
    for (name, value) in env {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
            return Err(format!("`{name}` is not the name of a variable"));
        }
        text.push_str(&["export ", name, "=", &quote(value), "\n"].concat());
    }
    Ok(text)
}

/// What the wrapper left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The exit status, and whether the wrapper was told to end before.
    Status(i32, bool),
    /// Slurm started it a second time.
    Requeued,
}

impl Left {
    /// Reads the file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        match words.next()? {
            "requeued" => Some(Self::Requeued),
            status => Some(Self::Status(
                status.parse().ok()?,
                words.next() == Some("stopped"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    struct Ground {
        _dir: tempfile::TempDir,
        staged: Staged,
        log: PathBuf,
    }

    impl Ground {
        fn new(argv: &[&str]) -> Self {
            let dir = tempfile::Builder::new()
                .prefix("it's a folder ")
                .tempdir()
                .unwrap();
            let staged = Staged::new(dir.path(), "mst-1a2b3c4d-t1");
            let log = dir.path().join("log");
            let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
            let text = wrapper(
                &staged,
                &argv,
                &dir.path().to_string_lossy(),
                &log.to_string_lossy(),
            );
            std::fs::write(staged.wrapper(), text).unwrap();
            let env = [("GREETING".to_owned(), "it's $HOME\n\"so\"".to_owned())];
            std::fs::write(staged.variables(), variables(&env).unwrap()).unwrap();
            Self {
                _dir: dir,
                staged,
                log,
            }
        }

        fn command(&self) -> Command {
            let mut command = Command::new("/bin/sh");
            command.arg(self.staged.wrapper());
            command
        }

        fn log(&self) -> String {
            std::fs::read_to_string(&self.log).unwrap_or_default()
        }
    }

    #[test]
    fn variables_output_and_status_go_where_they_should() {
        let ground = Ground::new(&[
            "sh",
            "-c",
            "echo \"$GREETING\"; echo trouble >&2; exit $1",
            "-",
            "7",
        ]);
        assert_eq!(ground.command().status().unwrap().code(), Some(7));
        assert_eq!(ground.log(), "it's $HOME\n\"so\"\ntrouble\n");
        assert_eq!(ground.staged.left(), Some(Left::Status(7, false)));
    }

    #[test]
    fn it_ends_when_nobody_waits_for_it() {
        let ground = Ground::new(&["sleep", "600"]);
        let mut child = ground.command().spawn().unwrap();
        std::fs::remove_file(ground.staged.variables()).unwrap();
        child.wait().unwrap();
        assert!(ground.log().contains("nobody waits"));
        std::fs::remove_file(ground.staged.done()).ok();
        // And does not even begin.
        assert_eq!(ground.command().status().unwrap().code(), Some(1));
        assert_eq!(ground.staged.left(), None);
    }

    #[test]
    fn a_signal_is_passed_on_and_noted() {
        let ground = Ground::new(&["sh", "-c", "echo ready; exec sleep 600"]);
        let mut child = ground.command().spawn().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while !ground.log().contains("ready") {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(143), None));
        assert_eq!(ground.staged.left(), Some(Left::Status(143, true)));
    }

    #[test]
    fn a_job_that_is_started_again_does_nothing() {
        let ground = Ground::new(&["echo", "loaded"]);
        ground.command().env("SLURM_RESTART_COUNT", "1").status().unwrap();
        assert!(!ground.log().contains("loaded"));
        assert_eq!(ground.staged.left(), Some(Left::Requeued));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        assert!(variables(&[("A B".to_owned(), String::new())]).is_err());
        assert!(variables(&[("1A".to_owned(), String::new())]).is_err());
    }
}
