//! `mst capacity --submit`: a job for each system and workload, servers on GPUs of their own, one job that gathers.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::support::{program, read_json, stderr, walk};

/// Shares that fit a node of the throw-away cluster; every job shows its environment.
const PROFILE: &str = "\
driver: {cpus: 1, mem: 400M}
server: {cpus: 1, mem: 400M}
time: 1:00:00
setup: env >env-$SLURM_JOB_ID
";

/// A folder with a file, and another one to submit from.
struct Ground<'a> {
    cluster: &'a Cluster,
    dir: tempfile::TempDir,
}

impl<'a> Ground<'a> {
    /// Servers on three GPUs and on one, and a simulated system; trials of `requests` at 50 requests a second and more.
    fn new(cluster: &'a Cluster, requests: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ground = Self { cluster, dir };
        std::fs::create_dir_all(ground.path("work/slurm")).unwrap();
        std::fs::write(ground.path("work/slurm/cluster.yml"), PROFILE).unwrap();
        // What GPUs it is given, and then the server.
        let server = format!(
            "echo \"$CUDA_VISIBLE_DEVICES\" >\"$1\"\nexec {} serve --profile demo --jitter 0 --listen \"$2\" \
             --api-key-env MST_API_KEY\n",
            program()
        );
        std::fs::write(ground.path("server.sh"), server).unwrap();
        let system = |name: &str, gpus: u32| {
            format!(
                "  - name: {name}\n    gpus: {gpus}\n    endpoint:\n      settings:\n        \
                 SERVER_COMMAND: sh {script} {folder}/gpus-{name} {{host}}:{{port}}\n        \
                 TARGET_LABEL: {name}\n        API_KEY_VARIABLE: SITE_KEY\n        DRAIN: 2s\n        RETRIES: 2\n",
                script = ground.path("server.sh").display(),
                folder = ground.dir.path().display(),
            )
        };
        let file = format!(
            "systems:\n{}{}  - {{name: simulated, deployment: {{model: meta-llama/Meta-Llama-3-8B, device: a100}}}}\n\
             workloads:\n  - {{name: short, tokens: \"8:4\", requests: {requests}}}\n\
             slos:\n  - {{name: loose, type: tbt_ttft, tbt_slo: 2, ttft_slo: 5}}\n  \
             - {{name: patient, type: tbt_ttft, tbt_slo: 4, ttft_slo: 9}}\n\
             search: {{rule: rates, rates: [50, 60, 70]}}\n",
            system("small", 1),
            system("big", 3),
        );
        std::fs::write(ground.path("capacity.yml"), file).unwrap();
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `mst capacity ../capacity.yml --output-dir ../out` with more arguments, from the folder to submit from.
    fn capacity(&self, more: &[&str]) -> Output {
        self.cluster
            .mst(&self.path("work"))
            .args([
                "capacity",
                "../capacity.yml",
                "--output-dir=../out",
                "--format=json",
            ])
            .args(more)
            .env("SITE_KEY", "hunter2hunter2")
            .output()
            .unwrap()
    }

    /// The jobs of a submission.
    fn submit(&self, more: &[&str]) -> Vec<Value> {
        let output = self.capacity(&[&["--submit"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["jobs"].as_array().unwrap().clone()
    }

    /// Files of this name of trials that are in their final place.
    fn stored(&self, name: &str) -> Vec<PathBuf> {
        let mut all = walk(&self.path("out"), name);
        all.retain(|file| !file.starts_with(self.path("out/.staging")));
        all
    }

    fn log(&self, job: &str) -> String {
        std::fs::read_to_string(self.path(&format!("out/slurm/capacity-{job}.out"))).unwrap_or_default()
    }

    /// Waits for the last job, which must have found every answer; the outcomes by their names.
    fn outcomes(&self, job: &str) -> Vec<Value> {
        self.cluster.await_state(job, &["COMPLETED", "FAILED"]);
        assert_eq!(self.cluster.state(job), "COMPLETED", "{}", self.log(job));
        let all = read_json(&self.path("out/outcomes/outcomes.json"));
        all.as_array().unwrap().clone()
    }
}

fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap()
}

#[test]
fn every_search_is_a_job_and_the_last_one_has_all_outcomes() {
    let Some(cluster) = Cluster::start() else { return };
    let ground = Ground::new(&cluster, 100);
    let jobs = ground.submit(&["--slots=3"]);
    let told: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                job["searched"].as_str(),
                job["gpus"].as_u64().unwrap(),
                job["after"].clone(),
            )
        })
        .collect();
    let (big, small, simulated, last) = (id(&jobs[0]), id(&jobs[1]), id(&jobs[2]), id(&jobs[3]));
    assert_eq!(
        told,
        [
            (Some("big/short"), 3, serde_json::json!([])),
            // Of three GPUs none is left for it.
            (Some("small/short"), 1, serde_json::json!([big])),
            (Some("simulated/short"), 0, serde_json::json!([])),
            (None, 0, serde_json::json!([big, small, simulated])),
        ]
    );
    let asked = |job: &str| cluster.ask("scontrol", &["-o", "show", "job", job]);
    assert!(asked(big).contains("gres:gpu:3"), "{}", asked(big));
    assert!(asked(small).contains("gres:gpu:1"), "{}", asked(small));
    assert!(!asked(simulated).contains("gpu"), "{}", asked(simulated));
    assert!(
        asked(small).contains(&format!("Dependency=afterany:{big}")),
        "{}",
        asked(small)
    );

    let outcomes = ground.outcomes(last);
    let told: Vec<_> = outcomes
        .iter()
        .map(|o| {
            (
                o["name"].as_str().unwrap(),
                o["trials"].as_u64(),
                o["trials_reused"].as_u64(),
            )
        })
        .collect();
    let three = (Some(3), Some(3));
    assert_eq!(
        told,
        [
            "small/short/loose",
            "small/short/patient",
            "big/short/loose",
            "big/short/patient",
            "simulated/short/loose",
            "simulated/short/patient"
        ]
        .map(|name| (name, three.0, three.1))
    );
    assert!(
        outcomes
            .iter()
            .all(|o| o["error"].is_null() && o["capacity_qps"] == 70.0),
        "{outcomes:?}"
    );
    // Each was found by its own job, and by nobody else.
    for (name, job) in [("big", big), ("small", small), ("simulated", simulated)] {
        let part = read_json(&ground.path(&format!("out/outcomes/only/{name}_short/outcomes.json")));
        assert_eq!(part[0]["trials_reused"], 0, "{part}");
        assert!(part[0]["load_seconds"].as_f64().unwrap() > 0.0);
        assert!(ground.log(job).contains("2 searches"), "{}", ground.log(job));
    }
    // Servers had the GPUs of their jobs.
    let gpus = |name: &str| std::fs::read_to_string(ground.path(&format!("gpus-{name}"))).unwrap();
    assert_eq!(gpus("big"), "0,1,2\n");
    assert_eq!(gpus("small").trim().split(',').count(), 1);
    assert_eq!(walk(&ground.path("out/.runs"), "server.json").len(), 2);

    // The key went by a file that is nobody else's.
    let keys = ground.path("out/slurm/api-keys.sh");
    assert_eq!(
        std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for entry in walkdir::WalkDir::new(ground.dir.path())
        .into_iter()
        .map(Result::unwrap)
    {
        if entry.file_type().is_file() && entry.path() != keys {
            let text = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains("hunter2"), "{}", entry.path().display());
        }
    }
    assert!(ground.path(&format!("work/env-{big}")).is_file());

    // Submitted again, nothing is measured again, and no server is started.
    let again = ground.submit(&[]);
    let outcomes = ground.outcomes(id(&again[3]));
    assert!(outcomes.iter().all(|o| o["error"].is_null()), "{outcomes:?}");
    assert_eq!(walk(&ground.path("out/.runs"), "server.json").len(), 2);
}

#[test]
fn a_job_that_was_killed_and_requeued_goes_on() {
    let Some(cluster) = Cluster::start() else { return };
    let ground = Ground::new(&cluster, 200);
    let jobs = ground.submit(&["--only=big/short"]);
    let (job, last) = (id(&jobs[0]), id(&jobs[1]));
    let staged = || walk(&ground.path("out/.staging"), "process.json");
    wait_for("a trial is stored and another one runs", LIMIT, || {
        !ground.stored("trial.json").is_empty() && !staged().is_empty()
    });
    let stored = ground.stored("trial.json");
    let written = |file: &PathBuf| std::fs::metadata(file).unwrap().modified().unwrap();
    let before: Vec<_> = stored.iter().map(written).collect();
    let first = server_of(&ground);
    let node = cluster.field(job, "%N");
    cluster.slurm_cluster("node-fail", &[&node]);
    // The job is not over as long as it waits to begin again.
    let outcome = read_json(&{
        cluster.await_state(last, &["COMPLETED", "FAILED"]);
        assert_eq!(cluster.state(last), "COMPLETED", "{}", ground.log(last));
        ground.path("out/outcomes/only/big_short/outcomes.json")
    });
    let shown = cluster.ask("scontrol", &["-o", "show", "job", job]);
    assert!(shown.contains(" Restarts=1 "), "{shown}");
    assert_eq!(
        (&outcome[0]["error"], &outcome[0]["trials"]),
        (&Value::Null, &3.into())
    );
    // What was stored is as it was; no trial has two folders; the first server is gone.
    assert_eq!(stored.iter().map(written).collect::<Vec<_>>(), before);
    let all = walk(&ground.path("out"), "trial.json");
    assert_eq!(all.len(), 3, "{all:?}");
    let servers = walk(&ground.path("out/.runs"), "server.json");
    assert_eq!(servers.len(), 2);
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
    assert!(staged().is_empty());
}

#[test]
fn a_job_whose_time_is_up_goes_back_into_the_queue() {
    let Some(cluster) = Cluster::start() else { return };
    let ground = Ground::new(&cluster, 200);
    let jobs = ground.submit(&["--only=small/short/loose"]);
    let (job, last) = (id(&jobs[0]), id(&jobs[1]));
    wait_for("a trial is stored", LIMIT, || {
        !ground.stored("trial.json").is_empty()
    });
    let limit = |minutes: u32| {
        let limit = format!("TimeLimit={minutes}");
        cluster.ask("scontrol", &["update", &format!("jobid={job}"), &limit]);
    };
    // No further trial fits.
    limit(1);
    wait_for("the job is back in the queue", LIMIT, || {
        ground.log(job).contains("is back in the queue")
    });
    assert!(ground.log(job).contains("WALLTIME_MARGIN"), "{}", ground.log(job));
    limit(60);
    cluster.await_state(last, &["COMPLETED", "FAILED"]);
    assert_eq!(cluster.state(last), "COMPLETED", "{}", ground.log(last));
    let outcome = read_json(&ground.path("out/outcomes/only/small_short_loose/outcomes.json"));
    assert_eq!(
        (&outcome[0]["error"], &outcome[0]["trials"]),
        (&Value::Null, &3.into())
    );
    assert_eq!(walk(&ground.path("out"), "trial.json").len(), 3);
}

/// The process of the only server.
fn server_of(ground: &Ground<'_>) -> i64 {
    let files = walk(&ground.path("out/.runs"), "server.json");
    assert_eq!(files.len(), 1);
    read_json(&files[0])["pid"].as_i64().unwrap()
}

#[test]
fn what_slurm_refuses_takes_the_others_back_and_what_fails_is_told() {
    let Some(cluster) = Cluster::start() else { return };
    let ground = Ground::new(&cluster, 100);
    // Slurm refuses the second job.
    let real = cluster.ask("sh", &["-c", "command -v sbatch"]);
    let bin = ground.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let wrapper = format!(
        "#!/bin/sh\necho x >>{calls}\nif [ $(wc -l <{calls}) = 2 ]; then\n  \
         echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1\nfi\nexec {real} \"$@\"\n",
        calls = ground.path("calls").display()
    );
    std::fs::write(bin.join("sbatch"), wrapper).unwrap();
    std::fs::set_permissions(bin.join("sbatch"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = cluster
        .mst(&ground.path("work"))
        .args(["capacity", "../capacity.yml", "--output-dir=../out", "--submit"])
        .env("SITE_KEY", "hunter2hunter2")
        .env(
            "PATH",
            format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
        )
        .output()
        .unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(11), "{told}");
    assert!(
        told.contains("Invalid qos") && told.contains("are cancelled"),
        "{told}"
    );
    let jobs = cluster.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    cluster.await_state(&jobs[0].0, &["CANCELLED"]);

    // A server that does not start: the last job says so, and has the answers of the others.
    std::fs::write(ground.path("server.sh"), "echo no weights; exit 3\n").unwrap();
    let jobs = ground.submit(&[]);
    let last = id(&jobs[3]);
    cluster.await_state(last, &["COMPLETED", "FAILED"]);
    assert_eq!(cluster.state(last), "FAILED", "{}", ground.log(last));
    let log = ground.log(last);
    assert!(
        log.contains("4 of them are not finished") && log.contains("with --submit, goes on"),
        "{log}"
    );
    let all = read_json(&ground.path("out/outcomes/outcomes.json"));
    let answered: Vec<bool> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["error"].is_null())
        .collect();
    assert_eq!(answered, [false, false, false, false, true, true], "{all}");
    assert!(
        ground.log(id(&jobs[0])).contains("no weights"),
        "{}",
        ground.log(id(&jobs[0]))
    );
}
