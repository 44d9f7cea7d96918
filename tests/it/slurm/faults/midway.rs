//! Runs that have measured something and stand in the midst of a trial: where faults hurt.

use std::path::PathBuf;
use std::time::Duration;

use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::slurm::runs::Run;
use crate::support::{processes, walk};

/// Shares of a node that let several jobs run on it.
pub(super) const SMALL: &str =
    "driver: {cpus: 1, mem: 300M}\nserver: {cpus: 1, mem: 300M, gpus: 1}\ntrial: {cpus: 1, mem: 100M}\n";

/// A run, and its job.
pub(super) struct Midway<'a> {
    pub(super) run: Run<'a>,
    pub(super) job: String,
    /// Trials that were stored when it was stopped.
    pub(super) stored: usize,
}

/// A workspace with this cluster profile; nothing is submitted.
pub(super) fn prepare<'a>(cluster: &'a Cluster, extra: &str, profile: &str) -> Run<'a> {
    let run = Run::prepare(cluster, extra);
    std::fs::create_dir(run.space.path().join("slurm")).unwrap();
    std::fs::write(
        run.space.path().join("slurm/cluster.yml"),
        format!("{SMALL}{profile}"),
    )
    .unwrap();
    run
}

/// Submits it; returns the id of its job.
pub(super) fn submit(run: &mut Run<'_>, arguments: &[&str]) -> String {
    let output = run.mst("submit").args(arguments).output().unwrap();
    run.was_submitted(&output)
}

/// A run with this cluster profile that has stored some trials and is stopped in the midst of another.
pub(super) fn midway<'a>(cluster: &'a Cluster, extra: &str, profile: &str) -> Midway<'a> {
    let mut run = prepare(cluster, extra, profile);
    run.pace("0.3");
    let job = submit(&mut run, &[]);
    wait_for("two trials are stored", 2 * LIMIT, || run.trials() >= 2);
    run.hold();
    await_held(&run);
    Midway {
        stored: run.trials(),
        run,
        job,
    }
}

/// Waits until a trial waits for [`Run::let_go`].
pub(super) fn await_held(run: &Run<'_>) {
    let script = format!("scripted.sh {}", run.space.path().display());
    let mut seen = Vec::new();
    wait_for("a trial waits", LIMIT, || {
        // Each trial has a folder of its own in its arguments; what is there twice, at such a distance, waits.
        let before = std::mem::replace(&mut seen, processes(&script));
        let waits = !seen.is_empty() && seen == before;
        waits || {
            std::thread::sleep(Duration::from_millis(1500));
            false
        }
    });
}

/// Everything that the driver's jobs printed.
pub(super) fn printed(run: &Run<'_>) -> String {
    let mut logs: Vec<PathBuf> = std::fs::read_dir(run.folder().join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    logs.sort();
    logs.iter()
        .map(|log| std::fs::read_to_string(log).unwrap_or_default())
        .collect()
}

/// Waits until a driver printed this.
pub(super) fn await_printed(run: &Run<'_>, text: &str) {
    wait_for(&format!("a driver says: {text}"), 2 * LIMIT, || {
        printed(run).contains(text)
    });
}

/// Processes of drivers of a run.
pub(super) fn drivers(run: &Run<'_>) -> Vec<i32> {
    let text = format!("\0drive\0{}", run.folder().display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(&text) {
            found.push(pid);
        }
    }
    found
}

/// Whether a process lives.
pub(super) fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A field of `scontrol show job`, for example `Restarts`.
pub(super) fn shown(cluster: &Cluster, job: &str, field: &str) -> String {
    let all = cluster.ask("scontrol", &["-o", "show", "job", job]);
    let value = all
        .split_whitespace()
        .find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{field}: {all}")).to_owned()
}

impl Midway<'_> {
    /// The next driver finds what was stored, no less, and no more than the trial that was cut off is repeated.
    pub(super) fn went_on(&self) {
        await_printed(&self.run, &format!("{} trials stored)", self.stored));
        self.run.ends_well();
        assert!(walk(&self.run.folder(), "ended.json").len() == 1);
    }
}
