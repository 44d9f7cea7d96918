//! One run that is killed again and again, in every way that a cluster knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use mst::executor::slurm::JobId;
use mst::store::runs::{Journal, Note};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cluster::{Cluster, LIMIT};
use super::runs::Run;
use crate::support::{long, read_json, stderr};

/// Seconds that a trial takes.
const PACE: f64 = 1.0;

/// Numbers of a fixed sequence, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    /// Below 1.
    fn share(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    /// SIGKILL to the driver's process.
    Driver,
    /// `scancel -s KILL --full`.
    Job,
    /// `scancel`.
    Cancel,
    /// `scontrol requeue`.
    Requeue,
    /// Its node is lost, and the driver on it goes on.
    Node,
    /// SIGKILL to the controller.
    Controller,
}

const BLOWS: [Blow; 6] = [
    Blow::Driver,
    Blow::Job,
    Blow::Cancel,
    Blow::Requeue,
    Blow::Node,
    Blow::Controller,
];

/// Further settings: four searches of some fourteen trials, or one.
fn settings() -> &'static str {
    if long() {
        "TOKENS_LIST=8:8,8:16,16:8,16:16"
    } else {
        ""
    }
}

/// Kills the run's job, or what it stands on.
fn strike(run: &Run<'_>, blow: Blow, job: &str) {
    let cluster = run.cluster;
    // The job may have ended just now.
    let try_it = |program: &str, arguments: &[&str]| {
        cluster.command(program).args(arguments).output().unwrap();
    };
    match blow {
        Blow::Driver => {
            for pid in drivers(run) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        Blow::Job => try_it("scancel", &["-s", "KILL", "--full", job]),
        Blow::Cancel => try_it("scancel", &[job]),
        Blow::Requeue => try_it("scontrol", &["requeue", job]),
        Blow::Node => {
            let node = cluster.field(job, "%N");
            if node.is_empty() {
                return;
            }
            let name = format!("nodename={node}");
            cluster.slurm_cluster("node-kill", &[&node]);
            cluster.ask("scontrol", &["update", &name, "state=down", "reason=killed"]);
            cluster.slurm_cluster("node-start", &[&node]);
        }
        Blow::Controller => {
            cluster.slurm_cluster("ctld-kill", &[]);
            cluster.slurm_cluster("ctld-start", &[]);
        }
    }
}

/// Processes of drivers of the run, those on lost nodes too.
fn drivers(run: &Run<'_>) -> Vec<Pid> {
    let words = format!("drive\0{}\0", run.folder().display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().parse().ok();
        if let (Some(pid), Ok(line)) = (pid, std::fs::read(entry.path().join("cmdline")))
            && String::from_utf8_lossy(&line).contains(&words)
        {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

/// What a user does who finds the run stopped: reads the status and does what it says. Returns once a trial runs, with its
/// job, or `None` when the run is done.
fn bring_back(run: &Run<'_>, resumes: &mut u32) -> Option<String> {
    let deadline = Instant::now() + 3 * LIMIT;
    let script = format!("scripted.sh {}", run.space.path().display());
    loop {
        let status = run.status();
        assert!(Instant::now() < deadline, "it does not go on: {status}");
        match status["state"].as_str().unwrap() {
            "done" => return None,
            "lost" | "failed" | "cancelled" => {
                let output = run.mst("resume").arg(&run.name).output().unwrap();
                if output.status.success() {
                    *resumes += 1;
                } else {
                    eprintln!("mst resume: {}", stderr(&output));
                }
            }
            "waiting" => {
                let advice = status["jobs"][0]["advice"].as_str().unwrap_or_default();
                let job = status["jobs"][0]["id"].as_str().unwrap_or_default();
                if advice.contains(&format!("scontrol release {job}")) {
                    run.cluster
                        .command("scontrol")
                        .args(["release", job])
                        .output()
                        .unwrap();
                }
            }
            _ => {
                let jobs = run.jobs().into_iter().rev();
                let running = jobs.into_iter().find(|(_, state)| state == "RUNNING");
                if let Some((job, _)) = running
                    && !crate::support::processes(&script).is_empty()
                {
                    return Some(job);
                }
            }
        }
        // A controller that lost its memory finds nodes where jobs run that it does not know, and drains them.
        for node in ["n1", "n2", "n3", "n4"] {
            let state = run
                .cluster
                .ask("sinfo", &["-h", "-n", node, "-p", "batch", "-o", "%T"]);
            if state.starts_with("drain") || state.starts_with("down") {
                let name = format!("nodename={node}");
                run.cluster
                    .command("scontrol")
                    .args(["update", &name, "state=resume"])
                    .output()
                    .unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// A trial that counts: its job, and when its load generator was done.
fn counted(run: &Run<'_>) -> Vec<(DateTime<Utc>, JobId)> {
    let mut all = Vec::new();
    for pair in ["8_8", "8_16", "16_8", "16_16"] {
        if !run.space.results().join(pair).is_dir() {
            continue;
        }
        for folder in run.space.trials(pair).into_values().flatten() {
            let end: SystemTime = folder.join("out.csv").metadata().unwrap().modified().unwrap();
            let manifest = read_json(&folder.join("trial.json"));
            let job = JobId::parse(manifest["slurm_job_id"].as_str().unwrap()).unwrap();
            all.push((end.into(), job));
        }
    }
    all.sort();
    all
}

/// That every trial that counts was measured while its driver was the newest, and while no other trial ran.
fn each_in_its_time(run: &Run<'_>) -> (usize, usize) {
    let starts: Vec<(DateTime<Utc>, JobId)> = Journal::read_all(&run.folder())
        .unwrap()
        .into_iter()
        .filter_map(|line| match line.note {
            Note::Started { id, .. } => Some((line.at, id)),
            _ => None,
        })
        .collect();
    let counted = counted(run);
    for (end, job) in &counted {
        let newest = starts.iter().rfind(|(at, _)| at < end).unwrap();
        assert_eq!(
            newest.1, *job,
            "a trial that ended at {end} is not of the newest driver: {starts:?}"
        );
    }
    for two in counted.windows(2) {
        let apart = (two[1].0 - two[0].0).as_seconds_f64();
        assert!(apart > 0.9 * PACE, "two trials at a time: {two:?}");
    }
    (starts.len(), counted.len())
}

#[test]
fn a_run_that_is_killed_again_and_again_finds_what_an_undisturbed_one_finds() {
    let Some(cluster) = Cluster::start() else { return };
    let began = Instant::now();
    let wanted = if long() { 50 } else { 6 };
    let mut run = Run::prepare(&cluster, settings());
    run.pace(&PACE.to_string());
    let output = run.mst("submit").output().unwrap();
    run.was_submitted(&output);
    let mut dice = Dice(20);
    let (mut blows, mut resumes) = (BTreeMap::<Blow, u32>::new(), 0);
    let mut left: Vec<Blow> = Vec::new();
    while blows.values().sum::<u32>() < wanted {
        let job = bring_back(&run, &mut resumes).unwrap_or_else(|| panic!("done too soon, after {blows:?}"));
        std::thread::sleep(Duration::from_secs_f64(1.3 * PACE * dice.share()));
        // Each kind as often as the others.
        if left.is_empty() {
            left = BLOWS.to_vec();
        }
        let blow = left.swap_remove(dice.below(left.len()));
        eprintln!(
            "{:>4} s: {blow:?} of job {job}, {} trials",
            began.elapsed().as_secs(),
            counted(&run).len()
        );
        strike(&run, blow, &job);
        *blows.entry(blow).or_default() += 1;
    }
    while bring_back(&run, &mut resumes).is_some() {
        std::thread::sleep(Duration::from_millis(500));
    }
    run.ends_well();
    let (starts, trials) = each_in_its_time(&run);
    eprintln!(
        "{blows:?}; {resumes} times resumed, {starts} drivers, {trials} trials, {} s",
        began.elapsed().as_secs()
    );
}
