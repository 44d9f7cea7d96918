//! A whole search in each way that a run can be laid out, by the native load generator against a real server: the answer
//! is that of `mst run` without a cluster.

use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use super::runs::Run;
use crate::run::Server;
use crate::support::{Workspace, program, read_json, stderr};

/// A server that is slow, so that it costs little processor time: 11,000 requests of 8:4 a minute, half as many of 8:8.
const SLOW: [&str; 6] = ["--jitter", "0", "--batch-cap", "4", "--step-base", "5ms"];
/// Rates of 0.64 times the capacity and less, and of 1.27 times and more: their verdicts are not in doubt.
/// A machine that is busy with other tests makes trials void: they are repeated until one is not.
const SEARCH: &str = "DURATION=5s\nREQ_MIN_START=3500\nSTOP_THRESHOLD=0.55\nITERATION_HARD_LIMIT=8\nPOLL_INTERVAL=1s\n\
                      WALLTIME_MARGIN=15s\nRETRIES=10";
/// What the nodes of the tests have several times.
const PROFILE: &str = "driver: {cpus: 1, mem: 300M}\nserver: {gpus: 1, cpus: 1, mem: 300M}\n\
                       trial: {cpus: 1, mem: 300M}\ntime: 1:00:00\n";
/// The factor between two rates of the search.
const STEP: f64 = 2.0;

fn workspace(extra: &str) -> Workspace {
    let space = Workspace::native(&format!("{SEARCH}\n{extra}"));
    std::fs::create_dir(space.path().join("slurm")).unwrap();
    std::fs::write(space.path().join("slurm/cluster.yml"), PROFILE).unwrap();
    space
}

/// With a server of its own at this place.
fn serving(place: &str, extra: &str) -> Workspace {
    workspace(&format!(
        "SERVER_COMMAND={} serve --profile demo {} --listen {{host}}:{{port}}\nSERVER_PLACE={place}\n{extra}",
        program(),
        SLOW.join(" ")
    ))
}

fn server() -> Server {
    Server::start(&[&SLOW[..], &["--port", "0"]].concat(), None)
}

/// Rate, low and high end of an answer, requests per minute.
#[derive(Clone, Copy, Debug)]
struct Answer {
    rate: f64,
    low: f64,
    high: f64,
}

impl Answer {
    fn of(space: &Workspace, pair: &str) -> Self {
        let answer = &read_json(&space.results().join(pair).join("capacity.json"))["answer"];
        let number = |key: &str| {
            answer[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{pair}: no {key}: {answer}"))
        };
        Self {
            rate: number("rate"),
            low: number("low"),
            high: number("high"),
        }
    }

    /// Whether it is the same as the local one, within that one's interval.
    fn agrees_with(self, local: Self) -> bool {
        self.low <= local.high
            && self.high >= local.low
            && (local.low / STEP..=local.high * STEP).contains(&self.rate)
    }
}

/// The answers of `mst run` on this machine, of `8_4` and `8_8`.
fn local() -> [Answer; 2] {
    static ANSWERS: OnceLock<[Answer; 2]> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        let space = serving("child", "TOKENS_LIST=8:4,8:8");
        let output = space.run(&[]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        ["8_4", "8_8"].map(|pair| Answer::of(&space, pair))
    })
}

/// That `mst status` says all that programs rely on, in the forms that they rely on.
fn keeps_the_contract(status: &Value) {
    let is_text = |value: &Value, key: &str| value[key].is_string();
    let is_number = |value: &Value, key: &str| {
        let field = value.get(key).unwrap_or_else(|| panic!("no {key}: {value}"));
        field.is_null() || field.is_number()
    };
    assert!(is_text(status, "run") && is_text(status, "state"), "{status}");
    assert!(is_number(status, "eta_seconds"), "{status}");
    for job in status["jobs"].as_array().unwrap() {
        for key in ["id", "state", "reason"] {
            assert!(is_text(job, key), "{key}: {status}");
        }
    }
    let pairs = status["pairs"].as_array().unwrap();
    assert!(!pairs.is_empty(), "{status}");
    for pair in pairs {
        assert!(is_text(pair, "pair") && pair["trials"].is_u64(), "{status}");
        assert!(is_number(pair, "low") && is_number(pair, "high"), "{status}");
    }
}

/// Submits, waits for the end, and looks at everything that a run leaves. Returns the last status.
fn submitted(run: &mut Run<'_>, arguments: &[&str], pairs: &[&str]) -> Value {
    let output = run.mst("submit").args(arguments).output().unwrap();
    let job = run.was_submitted(&output);
    let first = run.status();
    keeps_the_contract(&first);
    assert!(
        first["jobs"][0]["id"].as_str().unwrap().starts_with(&job),
        "{first}"
    );
    let last = run.await_status("over", |status| {
        keeps_the_contract(status);
        ["done", "failed", "cancelled", "lost"].contains(&status["state"].as_str().unwrap())
    });
    assert_eq!(
        (&last["state"], &last["exit"]),
        (&"done".into(), &0.into()),
        "{last}"
    );
    agrees(run, &last, pairs);
    for job in last["jobs"].as_array().unwrap() {
        let id = job["id"].as_str().unwrap();
        run.cluster.await_state(id, &["COMPLETED"]);
    }
    last
}

/// The answers, in the files and in the status, and that nothing else is left.
fn agrees(run: &Run<'_>, last: &Value, pairs: &[&str]) {
    for (place, pair) in pairs.iter().enumerate() {
        let (found, local) = (Answer::of(&run.space, pair), local()[place]);
        assert!(found.agrees_with(local), "{pair}: {found:?} against {local:?}");
        let told = &last["pairs"][place];
        assert_eq!(told["pair"], *pair, "{last}");
        assert_eq!(
            (told["low"].as_f64(), told["high"].as_f64()),
            (Some(found.low), Some(found.high)),
            "{last}"
        );
        let trials = run.space.trials(pair);
        assert_eq!(told["trials"].as_u64(), Some(trials.len() as u64), "{last}");
        assert!(trials.values().all(|folders| folders.len() == 1), "{trials:?}");
    }
    assert_eq!(last["eta_seconds"].as_u64().unwrap_or(0), 0, "{last}");
    run.is_gone();
}

/// Runs `mst run` by hand, as on a login node, until its end. Returns the last status.
fn by_hand(run: &mut Run<'_>, executor: &str) -> Value {
    let child = run
        .mst("run")
        .args(["--executor", executor])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let runs = run.space.results().join(".runs");
    wait_for("its folder is there", LIMIT, || {
        let first = std::fs::read_dir(&runs).ok().and_then(|mut all| all.next());
        let Some(Ok(folder)) = first.filter(|entry| {
            entry
                .as_ref()
                .is_ok_and(|entry| entry.path().join("plan.json").is_file())
        }) else {
            return false;
        };
        run.name = folder.file_name().into_string().unwrap();
        true
    });
    let plan = read_json(&run.folder().join("plan.json"));
    plan["tag"].as_str().unwrap().clone_into(&mut run.tag);
    let kind = run.await_status("at work, and shows jobs", |status| {
        keeps_the_contract(status);
        status["state"] != "running" || !status["jobs"].as_array().unwrap().is_empty()
    });
    assert_eq!(kind["mode"], "login", "{kind}");
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = run.status();
    keeps_the_contract(&last);
    assert_eq!(
        (&last["state"], &last["exit"]),
        (&"done".into(), &0.into()),
        "{last}\n{said}"
    );
    assert_eq!(
        rows[0]["mst_per_minute"].as_f64(),
        Some(Answer::of(&run.space, "8_4").rate)
    );
    agrees(run, &last, &["8_4"]);
    last
}

/// Jobs or steps of trials, as their manifests name them.
fn jobs_of_trials(run: &Run<'_>) -> Vec<Value> {
    let folders = run.space.trials("8_4").into_values().flatten();
    folders
        .map(|folder| read_json(&folder.join("trial.json"))["slurm_job_id"].clone())
        .collect()
}

#[test]
fn one_job_with_server_load_and_search() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::of(&cluster, serving("child", "TOKENS_LIST=8:4,8:8"));
    let last = submitted(&mut run, &[], &["8_4", "8_8"]);
    assert_eq!(last["mode"], "job", "{last}");
    let job = &last["jobs"][0]["id"];
    assert!(jobs_of_trials(&run).iter().all(|id| id == job), "{last}");
}

#[test]
fn an_array_with_a_task_a_pair_and_a_report() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::of(&cluster, serving("step", "TOKENS_LIST=8:4,8:8"));
    let arguments = ["--mode", "array", "--throttle", "1"];
    let last = submitted(&mut run, &arguments, &["8_4", "8_8"]);
    assert_eq!(last["mode"], "array", "{last}");
    wait_for("the report is there", LIMIT, || {
        run.folder().join("report.csv").is_file()
    });
    let table = std::fs::read_to_string(run.folder().join("report.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn a_client_without_a_gpu() {
    let Some(cluster) = Cluster::start() else { return };
    let server = server();
    let mut run = Run::of(
        &cluster,
        workspace(&format!("TOKENS_LIST=8:4\nURL={}", server.url)),
    );
    let last = submitted(&mut run, &[], &["8_4"]);
    assert_eq!(last["mode"], "client", "{last}");
    let job = last["jobs"][0]["id"].as_str().unwrap();
    let shown = cluster.ask("scontrol", &["-o", "show", "job", job]);
    assert!(!shown.contains("gres"), "{shown}");
}

#[test]
fn a_driver_by_hand_with_the_server_and_each_trial_as_jobs() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::of(&cluster, serving("job", "TOKENS_LIST=8:4"));
    let last = by_hand(&mut run, "sbatch");
    let jobs = last["jobs"].as_array().unwrap();
    let count = |kind: &str| jobs.iter().filter(|job| job["kind"] == kind).count();
    assert_eq!(count("server"), 1, "{last}");
    // A trial that a busy client made void is repeated, as a job of its own.
    assert!(count("trial") >= run.space.trials("8_4").len(), "{last}");
}

#[test]
fn a_driver_by_hand_with_the_server_as_a_job_and_each_trial_by_srun() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::of(&cluster, serving("job", "TOKENS_LIST=8:4"));
    by_hand(&mut run, "srun");
}

#[test]
fn a_driver_by_hand_against_a_url() {
    let Some(cluster) = Cluster::start() else { return };
    let server = server();
    for executor in ["sbatch", "srun"] {
        let mut run = Run::of(
            &cluster,
            workspace(&format!("TOKENS_LIST=8:4\nURL={}", server.url)),
        );
        by_hand(&mut run, executor);
    }
}

#[test]
fn a_chain_of_jobs() {
    let Some(cluster) = Cluster::start() else { return };
    // Two trials fit into a minute, the pause before the third does not.
    let mut run = Run::of(
        &cluster,
        serving("child", "TOKENS_LIST=8:4\nITERATION_COOLDOWN_SECONDS=15"),
    );
    let last = submitted(&mut run, &["--mode", "chain", "--time", "1m"], &["8_4"]);
    assert_eq!(last["mode"], "chain", "{last}");
    let jobs = last["jobs"].as_array().unwrap();
    assert!(jobs.len() > 1, "no successor: {last}");
    let names: Vec<String> = (1..=jobs.len()).map(|n| format!("{}-{n}", run.tag)).collect();
    assert!(
        jobs.iter().zip(&names).all(|(job, name)| job["name"] == *name),
        "{last}"
    );
}
