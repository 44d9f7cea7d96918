//! Drivers that start where they should not, or inside of another job.

use std::path::Path;

use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::slurm::runs::Run;
use crate::support::{read_json, walk};

use super::midway::{await_held, drivers, prepare, submit};

#[test]
fn a_driver_that_a_forgotten_job_lets_start_refuses() {
    let Some(cluster) = Cluster::with(&[("MIN_JOB_AGE", "5")]) else {
        return;
    };
    // The load generator's first word is no program.
    let mut run = prepare(&cluster, "RETRIES=0\nLOADGEN_COMMAND=no-such-program {dir}", "");
    let job = submit(&mut run, &[]);
    run.await_state("failed");
    let ended = std::fs::read(run.folder().join("main/ended.json")).unwrap();
    wait_for("the controller forgets the job", 2 * LIMIT, || {
        cluster.state(&job).is_empty()
    });
    let script = run.folder().join("drive.slurm");
    for (number, condition) in [(2, "afterok"), (3, "afternotok")] {
        let dependency = format!("--dependency={condition}:{job}");
        let name = format!("--job-name={}-{number}", run.tag);
        let next = cluster.ask(
            "sbatch",
            &["--parsable", &name, &dependency, script.to_str().unwrap()],
        );
        // Slurm takes it for met, whatever the condition.
        let log = run.folder().join(format!("logs/drive-{next}.out"));
        wait_for("the driver refuses", LIMIT, || {
            std::fs::read_to_string(&log).is_ok_and(|told| told.contains("this run has ended: "))
        });
        assert!(std::fs::read_to_string(&log).unwrap().contains("nothing to do"));
    }
    assert_eq!(
        walk(&run.space.results(), ".lease"),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        std::fs::read(run.folder().join("main/ended.json")).unwrap(),
        ended
    );
    assert_eq!(run.trials(), 0);
}

/// Runs a line in a job with options that leak into everything that is started in it.
fn in_a_job(cluster: &Cluster, folder: &Path, line: &str) -> String {
    let chdir = format!("--chdir={}", folder.display());
    let log = format!("--output={}/outer.out", folder.display());
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_mst"));
    let options = ["--nodes=2", "--mem=500", "--gpus-per-node=2", "--job-name=outer"];
    let options = [
        &options[..],
        &[chdir.as_str(), "--open-mode=append", log.as_str()],
    ]
    .concat();
    cluster.submit(&options, &line)
}

#[test]
fn a_run_can_be_submitted_from_inside_a_job() {
    let Some(cluster) = Cluster::start() else { return };
    // Trials are steps: srun of the inner job is the one that would fail.
    let mut run = prepare(&cluster, "EXECUTOR=srun", "");
    run.hold();
    let outer = in_a_job(&cluster, run.space.path(), "submit");
    cluster.await_state(&outer, &["COMPLETED"]);
    adopt(&mut run);
    await_held(&run);
    let [driver] = drivers(&run)[..] else {
        panic!("one driver")
    };
    let environment = std::fs::read(format!("/proc/{driver}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let value = |name: &str| {
        let variables = environment.split('\0').filter_map(|line| line.split_once('='));
        variables
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value.to_owned())
            .next()
    };
    assert_eq!(value("SLURM_JOB_NUM_NODES").as_deref(), Some("1"));
    assert_eq!(value("SLURM_MEM_PER_NODE").as_deref(), Some("300"));
    assert_eq!(value("SLURM_GPUS_PER_NODE"), None);
    assert_ne!(value("SLURM_JOB_ID"), Some(outer));
    run.let_go();
    run.ends_well();
}

/// Learns the name of a run that was not submitted by us.
fn adopt(run: &mut Run<'_>) {
    let plans = walk(&run.space.results(), "plan.json");
    let [plan] = &plans[..] else {
        panic!("one run: {plans:?}")
    };
    let plan = read_json(plan);
    plan["run"].as_str().unwrap().clone_into(&mut run.name);
    plan["tag"].as_str().unwrap().clone_into(&mut run.tag);
}

fn by_hand_in_a_job(executor: &str) {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = prepare(&cluster, &format!("EXECUTOR={executor}"), "");
    let outer = in_a_job(&cluster, run.space.path(), "run");
    // 4 and 5 are answers, too.
    wait_for("the outer job is over", 2 * LIMIT, || {
        ["COMPLETED", "FAILED"].contains(&cluster.state(&outer).as_str())
    });
    let told = std::fs::read_to_string(run.space.path().join("outer.out")).unwrap();
    assert_eq!(cluster.state(&outer), "COMPLETED", "{told}");
    adopt(&mut run);
    run.ends_well();
}

#[test]
fn trials_are_steps_of_the_job_that_mst_runs_in() {
    by_hand_in_a_job("srun");
}

#[test]
fn trials_are_jobs_of_their_own_inside_a_job() {
    by_hand_in_a_job("sbatch");
}

#[test]
fn a_whole_experiment_as_one_script_puts_itself_back_into_the_queue() {
    let Some(cluster) = Cluster::start() else { return };
    let run = prepare(
        &cluster,
        "DURATION=6s\nDRAIN=1s\nITERATION_COOLDOWN_SECONDS=0\nREQ_MIN_START=600",
        "",
    );
    run.pace("6");
    let folder = run.space.path();
    let target = folder.join("target/release");
    std::fs::create_dir_all(&target).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mst"), target.join("mst")).unwrap();
    // Only what is there to be adapted.
    let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/slurm/experiment.slurm"))
        .unwrap()
        .replace("--time=24:00:00", "--time=1")
        .replace("--mem=4G", "--mem=300M")
        .replace("--cpus-per-task=4", "--cpus-per-task=1");
    std::fs::write(folder.join("experiment.slurm"), script).unwrap();
    let chdir = format!("--chdir={}", folder.display());
    let script = folder.join("experiment.slurm");
    let output = cluster
        .command("sbatch")
        .current_dir(folder)
        .args(["--parsable", &chdir, script.to_str().unwrap()])
        .output()
        .unwrap();
    let job = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let log = folder.join(format!("slurm-{job}.out"));
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("it is stopped for the end of the job", 2 * LIMIT, || {
        told().contains("going on in another")
    });
    let stored = run.trials();
    wait_for("it has its answer", 2 * LIMIT, || {
        told().contains("mst: every pair") || told().contains("mst: done")
    });
    cluster.await_state(&job, &["COMPLETED"]);
    assert!(stored > 1, "{stored} trials in a minute: {}", told());
    assert!(told().contains(&format!("{stored} trials stored)")), "{}", told());
    run.is_whole();
    // Without a server of its own it leaves no folder of a run.
    assert!(!run.space.results().join(".runs").exists());
}
