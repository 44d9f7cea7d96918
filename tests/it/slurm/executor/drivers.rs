//! `mst run` on a login node, whose trials are jobs or steps.

use std::process::Stdio;

use crate::run::Server;
use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::support::{Workspace, kill, read_json, stderr, walk};

fn workspace(server: &Server, executor: &str) -> Workspace {
    Workspace::scripted(&format!(
        "URL={}\nEXECUTOR={executor}\nPOLL_INTERVAL=1s\nITERATION_COOLDOWN_SECONDS=0",
        server.url
    ))
}

/// What the same search finds without Slurm.
fn plain(server: &Server) -> String {
    let here = workspace(server, "local");
    let output = here.run(&[]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    here.capacity("8_8")
}

#[test]
fn a_search_by_jobs_finds_the_same() {
    let Some(cluster) = Cluster::start() else { return };
    let server = Server::start(&["--port", "0"], None);
    let space = workspace(&server, "sbatch");
    let output = cluster.mst(space.path()).arg("run").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(space.capacity("8_8"), plain(&server));
    let trials = space.trials("8_8");
    let jobs = cluster.jobs();
    assert_eq!(jobs.len(), trials.len());
    assert!(jobs.iter().all(|job| job.1 == "COMPLETED"), "{jobs:?}");
    for folder in trials.values().flatten() {
        let names = std::fs::read_dir(folder).unwrap();
        let names: Vec<String> = names
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        let left = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
        assert_eq!(
            (left(".sh"), left(".env"), left("attempt.json")),
            (0, 0, 0),
            "{names:?}"
        );
        assert_eq!((left("slurm.json"), left(".slurm")), (1, 1), "{names:?}");
    }
}

#[test]
fn a_search_by_srun_finds_the_same() {
    let Some(cluster) = Cluster::start() else { return };
    let server = Server::start(&["--port", "0"], None);
    let space = workspace(&server, "srun");
    let output = cluster.mst(space.path()).arg("run").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(space.capacity("8_8"), plain(&server));
    assert_eq!(cluster.jobs().len(), space.trials("8_8").len());
}

#[test]
fn a_killed_driver_takes_its_trial_over_when_it_is_started_again() {
    let Some(cluster) = Cluster::start() else { return };
    let server = Server::start(&["--port", "0"], None);
    let space = workspace(&server, "sbatch");
    for _ in 0..2 {
        let mut driver = cluster
            .mst(space.path())
            .arg("run")
            .env("SCRIPTED_SLEEP", "20")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("a trial's job runs", LIMIT, || {
            cluster.jobs().iter().any(|job| job.1 == "RUNNING")
                && walk(&space.results(), "slurm.json")
                    .iter()
                    .any(|path| std::fs::read(path).is_ok() && read_json(path)["id"].is_string())
        });
        kill(&mut driver);
    }
    let output = cluster.mst(space.path()).arg("run").output().unwrap();
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("taken over"), "{told}");
    assert_eq!(space.capacity("8_8"), plain(&server));
    let trials = space.trials("8_8");
    assert!(trials.values().all(|folders| folders.len() == 1), "{trials:?}");
    assert_eq!(cluster.jobs().len(), trials.len(), "{:?}", cluster.jobs());
}

#[test]
fn a_stopped_driver_leaves_no_job_behind() {
    let Some(cluster) = Cluster::start() else { return };
    let server = Server::start(&["--port", "0"], None);
    let space = workspace(&server, "sbatch");
    let mut driver = cluster
        .mst(space.path())
        .arg("run")
        .env("SCRIPTED_SLEEP", "600")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a trial's job runs", LIMIT, || {
        cluster.jobs().iter().any(|job| job.1 == "RUNNING")
    });
    let pid = nix::unistd::Pid::from_raw(driver.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(143));
    wait_for("its job is over", LIMIT, || {
        cluster.jobs().iter().all(|job| job.1 == "CANCELLED")
    });
}
