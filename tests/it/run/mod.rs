//! `mst run` as a whole, against a scripted load generator, the embedded endpoint, or `mst serve` as another process.

mod contract;
mod killed;
mod layouts;
mod older;
mod search;
mod secrets;
mod server;
mod stopping;
mod trouble;
mod workloads;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{golden, mst};

/// A folder with a `.env` for the scripted load generator.
struct Workspace {
    dir: tempfile::TempDir,
}

impl Workspace {
    fn scripted(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = golden("run/scripted.sh");
        let env = format!(
            "DURATION=60s\nTOKENS_LIST=8:8\nREQ_MIN_START=100\nSTOP_THRESHOLD=0.02\nITERATION_HARD_LIMIT=40\n\
             ARRIVAL=constant\nLOADGEN=command\n\
             LOADGEN_COMMAND=sh {} {{dir}} {{rate_per_minute}} {{duration_s}}\nLOADGEN_OUTPUT=out.csv\n\
             LOADGEN_COLUMNS=intended=intended:s,sent=sent:s,first_token=first:s,done=done:s,input_tokens=in,output_tokens=out,ok=ok\n\
             {extra}\n",
            script.display()
        );
        std::fs::write(dir.path().join(".env"), env).unwrap();
        Self { dir }
    }

    /// The native load generator, with short trials at constant distances.
    fn native(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = format!(
            "DURATION=1s\nFILTER_BUFFER=0\nDRAIN=5s\nITERATION_COOLDOWN_SECONDS=0\nARRIVAL=constant\n{extra}\n"
        );
        std::fs::write(dir.path().join(".env"), env).unwrap();
        Self { dir }
    }

    fn results(&self) -> PathBuf {
        self.path().join("requests")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run(&self, arguments: &[&str]) -> Command {
        let mut command = mst();
        command
            .current_dir(self.path())
            .arg("run")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn answer(&self, arguments: &[&str]) -> (Output, Value) {
        let output = self.run(arguments).args(["--format", "json"]).output().unwrap();
        let answer = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        (output, answer)
    }

    fn capacity(&self, pair: &str) -> String {
        std::fs::read_to_string(self.path().join("requests").join(pair).join("capacity.json")).unwrap()
    }

    /// Folders of complete trials by identity.
    fn trials(&self, pair: &str) -> BTreeMap<String, Vec<PathBuf>> {
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

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// All files of a name below a folder.
fn walk(root: &Path, name: &str) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root)
        .into_iter()
        // A driver may move or remove folders meanwhile.
        .filter_map(|e| Some(e.ok()?.into_path()))
        .filter(|p| p.file_name().is_some_and(|n| n == name))
        .collect()
}

fn wait_for(mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "did not become ready");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Columns and rows of a table.
fn table(path: &Path) -> (Vec<String>, Vec<BTreeMap<String, String>>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows = reader
        .records()
        .map(|row| {
            columns
                .iter()
                .cloned()
                .zip(row.unwrap().iter().map(str::to_owned))
                .collect()
        })
        .collect();
    (columns, rows)
}

/// Argument lists of all processes that mention `text`.
fn processes(text: &str) -> Vec<String> {
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

/// `mst serve` as a process of its own, which outlives drivers.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(arguments: &[&str], key: Option<&str>) -> Self {
        let mut command = mst();
        if let Some(key) = key {
            command.env("SERVE_KEY", key);
        }
        let mut child = command
            .args(["serve", "--profile", "demo", "--format", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap();
        let url = announced["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }

    fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
