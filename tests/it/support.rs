//! What the integration tests share: the program under test, folders to run it in, its golden files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub(crate) fn mst() -> Command {
    clean(&program())
}

/// Where it is: the one built with the tests, or another, such as a released one, named by `MST_TEST_PROGRAM`.
pub(crate) fn program() -> String {
    std::env::var("MST_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_mst").to_owned())
}

/// A program that gets next to nothing of this process's environment.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A file or folder below `tests/golden`.
pub(crate) fn golden(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

/// Whether the long checks were asked for (`scripts/test --long`).
pub(crate) fn long() -> bool {
    std::env::var("MST_TEST_LONG").is_ok_and(|v| v == "1")
}

/// Says that this test looks at nothing, and why: past the capture of test output, and `scripts/test` counts these lines.
pub(crate) fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let line = format!("\nSKIPPED: {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A folder with a `.env` for the scripted load generator.
pub(crate) struct Workspace {
    dir: tempfile::TempDir,
}

impl Workspace {
    pub(crate) fn scripted(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = golden("run/scripted.sh");
        let env = format!(
            "DURATION=60s\nTOKENS_LIST=8:8\nREQ_MIN_START=100\nSTOP_THRESHOLD=0.02\nITERATION_HARD_LIMIT=40\n\
             SEARCH=stages\nARRIVAL=constant\nLOADGEN=command\n\
             LOADGEN_COMMAND=sh {} {{dir}} {{rate_per_minute}} {{duration_s}}\nLOADGEN_OUTPUT=out.csv\n\
             LOADGEN_COLUMNS=intended=intended:s,sent=sent:s,first_token=first:s,done=done:s,input_tokens=in,output_tokens=out,ok=ok\n\
             {extra}\n",
            script.display()
        );
        std::fs::write(dir.path().join(".env"), env).unwrap();
        Self { dir }
    }

    /// The same, and a file `hold` in it makes the load generator wait, a file `pace` holds the seconds that it takes: a
    /// search can be slowed down, or stopped in the midst of a trial, without another answer.
    pub(crate) fn paced(extra: &str) -> Self {
        let space = Self::scripted(extra);
        let file = space.path().join(".env");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace(
            "LOADGEN_COMMAND=sh ",
            // From the trial's staging folder; an absolute path would make it another trial.
            "LOADGEN_COMMAND=env SCRIPTED_HOLD=../../../../hold SCRIPTED_PACE=../../../../pace sh ",
        );
        std::fs::write(&file, text).unwrap();
        space
    }

    /// The native load generator, with short trials at constant distances.
    pub(crate) fn native(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = format!(
            "DURATION=1s\nFILTER_BUFFER=0\nDRAIN=5s\nITERATION_COOLDOWN_SECONDS=0\nSEARCH=stages\nARRIVAL=constant\n{extra}\n"
        );
        std::fs::write(dir.path().join(".env"), env).unwrap();
        Self { dir }
    }

    /// The embedded server as this run's own (`SERVER_COMMAND`), with a true capacity of some 11,000 requests of 8:4 a
    /// minute, which costs little processor time; a search takes about 15 seconds. A slow machine may leave it undecided.
    pub(crate) fn serving(extra: &str) -> Self {
        Self::native(&format!(
            "SERVER_COMMAND={} serve --profile demo --jitter 0 --batch-cap 4 --step-base 5ms --listen {{host}}:{{port}}\n\
             TOKENS_LIST=8:4\nDURATION=2s\nREQ_MIN_START=6000\nSTOP_THRESHOLD=0.35\n{extra}",
            program()
        ))
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.path().join("requests")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let mut command = mst();
        command
            .current_dir(self.path())
            .arg("run")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn answer(&self, arguments: &[&str]) -> (Output, Value) {
        let output = self.run(arguments).args(["--format", "json"]).output().unwrap();
        let answer = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        (output, answer)
    }

    pub(crate) fn capacity(&self, pair: &str) -> String {
        std::fs::read_to_string(self.path().join("requests").join(pair).join("capacity.json")).unwrap()
    }

    /// Folders of complete trials by identity.
    pub(crate) fn trials(&self, pair: &str) -> BTreeMap<String, Vec<PathBuf>> {
        let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for entry in std::fs::read_dir(self.path().join("requests").join(pair)).unwrap() {
            let folder = entry.unwrap().path();
            if let Ok(text) = std::fs::read(folder.join("trial.json")) {
                let manifest: Value = serde_json::from_slice(&text).unwrap();
                found
                    .entry(manifest["id"].as_str().unwrap().to_owned())
                    .or_default()
                    .push(folder);
            }
        }
        found
    }
}

pub(crate) fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// All files of a name below a folder.
pub(crate) fn walk(root: &Path, name: &str) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root)
        .into_iter()
        // A driver may move or remove folders meanwhile.
        .filter_map(|e| Some(e.ok()?.into_path()))
        .filter(|p| p.file_name().is_some_and(|n| n == name))
        .collect()
}

/// Waits until `ready`, and panics with `what` after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !ready() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Argument lists of all processes that mention `text`.
pub(crate) fn processes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let numeric = entry
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit());
        // Processes may end while we look.
        if let (true, Ok(arguments)) = (numeric, std::fs::read(entry.path().join("cmdline"))) {
            let line = String::from_utf8_lossy(&arguments).replace('\0', " ");
            if line.contains(text) {
                found.push(line);
            }
        }
    }
    found
}

/// Compares with a file of the repository, or writes it where `UPDATE_GOLDEN` is set.
pub(crate) fn compare(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).expect("the repository can be written");
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == text,
        "{} is not what the program makes; UPDATE_GOLDEN=1 writes it\n{text}",
        path.display()
    );
}
