//! `mst submit` and `mst resume`: what reaches Slurm, what is refused, what is left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::support::{Workspace, mst, read_json, stderr};

/// Shares that fit the nodes of the throw-away cluster several times.
const SMALL: &str = "driver: {cpus: 1, mem: 300M}\nserver: {cpus: 1, mem: 300M, gpus: 1}\ntime: 1:00:00\n";

/// A folder with settings for the scripted load generator, and a cluster profile.
fn workspace(settings: &str, profile: &str) -> Workspace {
    let space = Workspace::scripted(settings);
    std::fs::create_dir(space.path().join("slurm")).unwrap();
    std::fs::write(space.path().join("slurm/cluster.yml"), profile).unwrap();
    space
}

fn output(cluster: &Cluster, space: &Workspace, arguments: &[&str]) -> Output {
    cluster.mst(space.path()).args(arguments).output().unwrap()
}

/// The JSON answer of a command that succeeds.
fn answer(cluster: &Cluster, space: &Workspace, arguments: &[&str]) -> Value {
    let output = output(cluster, space, &[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn job(answer: &Value, place: usize) -> String {
    answer["jobs"][place]["id"].as_str().unwrap().to_owned()
}

/// Everything below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    all.sort();
    all
}

/// The program where no Slurm is.
fn without_slurm(space: &Workspace, arguments: &[&str]) -> Output {
    let mut command: Command = mst();
    command.env("PATH", "/nonexistent").current_dir(space.path());
    command.args(arguments).output().unwrap()
}

#[test]
fn a_dry_run_needs_no_slurm_and_writes_nothing() {
    let space = workspace("", SMALL);
    let before = tree(space.path());
    let output = without_slurm(&space, &["submit", "--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    for line in [
        "#SBATCH --mem=300M\n",
        "#SBATCH --nodes=1\n",
        "sbatch --parsable --job-name=mst-",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(tree(space.path()), before);
}

#[test]
fn without_slurm_nothing_is_left_behind() {
    let space = workspace("", SMALL);
    let before = tree(space.path());
    let output = without_slurm(&space, &["submit"]);
    assert_eq!(output.status.code(), Some(11));
    assert!(
        stderr(&output).contains("not on this machine's PATH"),
        "{}",
        stderr(&output)
    );
    assert_eq!(tree(space.path()), before);
}

#[test]
fn what_cannot_work_is_refused_before_slurm_is_asked() {
    for (settings, profile, arguments, fragment) in [
        (
            "",
            "partiton: gpu\n",
            &["submit"][..],
            "cluster.yml:1: `partiton` is not a key here; did you mean partition?",
        ),
        ("", SMALL, &["submit", "--time", "60"], "write 60m or 60s"),
        (
            "",
            SMALL,
            &["submit", "--time", "1m"],
            "cannot hold a single trial",
        ),
        (
            "",
            SMALL,
            &["submit", "--mode", "client"],
            "a client needs the URL",
        ),
        ("", SMALL, &["submit", "--throttle", "2"], "only --mode array"),
        (
            "URL=http://gpu07:8000\nTOKENS_LIST=1:1,2:2",
            SMALL,
            &["submit", "--mode", "array"],
            "add --throttle 1, or use --mode client",
        ),
        (
            "SERVER_COMMAND=serve\nSERVER_PLACE=group",
            SMALL,
            &["submit", "--mode", "array"],
            "no arrays of heterogeneous jobs",
        ),
        ("RESULTS_DIR=.env/x", SMALL, &["submit"], "cannot be written to"),
        ("", SMALL, &["resume", "20200101"], "there is no run"),
    ] {
        let space = workspace(settings, profile);
        let output = without_slurm(&space, arguments);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(fragment),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    let space = workspace("", SMALL);
    std::fs::write(
        space.path().join("slurm/drive.slurm.j2"),
        "#!/bin/bash\n\n{{ colour }}\n",
    )
    .unwrap();
    let output = without_slurm(&space, &["submit", "--dry-run"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("slurm/drive.slurm.j2:3: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn templates_are_written_once() {
    let space = workspace("", SMALL);
    let output = without_slurm(&space, &["submit", "--write-templates", "slurm"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let file = space.path().join("slurm/drive.slurm.j2");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, include_str!("../../../slurm/drive.slurm.j2"));
    std::fs::write(&file, text.replace("#!/bin/bash\n", "#!/bin/bash\n# mine\n")).unwrap();
    let output = without_slurm(&space, &["submit", "--write-templates", "slurm"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("is there already"),
        "{}",
        stderr(&output)
    );
    let output = without_slurm(&space, &["submit", "--dry-run"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("\n# mine\n"));
}

#[test]
fn refusals_are_told_with_a_remedy_and_leave_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let server = "SERVER_COMMAND=serve {port}";
    for (settings, profile, flags, fragments) in [
        (
            "",
            "",
            &["--partition", "nosuch"][..],
            ["invalid partition specified: nosuch", "sinfo -s"],
        ),
        ("", "driver: {mem: 999G}", &[], ["emory", "sinfo -o '%P"]),
        (
            server,
            "server: {cpus: 1, mem: 300M, gpus: 99}",
            &[],
            ["node configuration is not available", "GPUs"],
        ),
        (
            server,
            "server: {cpus: 1, mem: 300M, gres: 'tpu:1'}",
            &[],
            ["Invalid generic resource", "server.gres"],
        ),
        (
            "",
            "constraint: nosuch",
            &[],
            ["Invalid feature specification", "`constraint`"],
        ),
        ("NODE_LIST=nosuch", "", &[], ["Invalid node name", "NODE_LIST"]),
        (
            "",
            "sbatch: [--colour=red]",
            &[],
            ["unrecognized option", "`sbatch`"],
        ),
    ] {
        let space = workspace(settings, &format!("{profile}\n"));
        let output = output(&cluster, &space, &[&["submit"], flags].concat());
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(11), "{profile}: {told}");
        for fragment in fragments {
            assert!(told.contains(fragment), "{profile}: {fragment}: {told}");
        }
        let runs = space.results().join(".runs");
        assert_eq!(std::fs::read_dir(runs).unwrap().count(), 0, "{profile}");
    }
    assert_eq!(
        cluster
            .jobs()
            .iter()
            .filter(|(_, state, _)| state != "FAILED")
            .count(),
        0
    );
}

#[test]
fn a_check_finds_what_slurm_would_let_wait_for_ever() {
    let Some(cluster) = Cluster::start() else { return };
    let check = |profile: &str, flags: &[&str]| {
        let space = workspace("SERVER_COMMAND=serve\nSERVER_PLACE=node", profile);
        let before = tree(space.path());
        let output = output(&cluster, &space, &[&["submit", "--check"], flags].concat());
        assert_eq!(tree(space.path()), before);
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        (output.status.code(), told)
    };
    let (code, told) = check(SMALL, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("to start at 20"), "{told}");
    let (code, told) = check(SMALL, &["--partition", "short"]);
    assert_eq!(code, Some(11), "{told}");
    assert!(
        told.contains("the partition short has a time limit of 00:01:00"),
        "{told}"
    );
    let (code, told) = check(SMALL, &["--partition", "drained"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("warning: the partition drained is down"), "{told}");
    let (code, told) = check(
        "server: {nodes: 4, mem: 300M}\ndriver: {mem: 300M}\ntime: 1h\n",
        &[],
    );
    assert_eq!(code, Some(11), "{told}");
    assert!(
        told.contains("node configuration is not available") || told.contains("may have 4 nodes"),
        "{told}"
    );
    // sbatch takes this one, and it waits with the reason PartitionConfig.
    let (code, told) = check("driver: {cpus: 99, mem: 300M}\nserver: {mem: 300M}\n", &[]);
    assert_eq!(code, Some(11), "{told}");
    assert!(told.contains("node configuration is not available"), "{told}");
    let (code, told) = check(SMALL, &["--time", "5m"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("does not hold the whole search"), "{told}");
    assert!(cluster.jobs().is_empty());
}

#[test]
fn a_submitted_run_finds_what_a_plain_one_finds() {
    let Some(cluster) = Cluster::start() else { return };
    let seen = tempfile::tempdir().unwrap();
    let seen = seen.path().join("environment");
    let profile = format!(
        "{SMALL}setup: |\n  env > '{}'\n  echo \"setup of $SLURM_JOB_ID\"\n",
        seen.display()
    );
    let plain = workspace("", SMALL);
    let space = workspace("API_KEY_VARIABLE=SITE_KEY", &profile);
    let odd = space.path().join("a b'c%d");
    std::fs::create_dir(&odd).unwrap();
    for name in ["slurm", ".env"] {
        std::fs::rename(space.path().join(name), odd.join(name)).unwrap();
    }
    let output = cluster
        .mst(&odd)
        .args(["submit", "--format", "json"])
        .env("SITE_KEY", "hunter2")
        // As inside another job, where these would change what is asked for.
        .envs([
            ("SLURM_MEM_PER_CPU", "9"),
            ("SBATCH_PARTITION", "drained"),
            ("SLURM_NTASKS", "7"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = PathBuf::from(sent["path"].as_str().unwrap());
    let key = run.join("api-key");
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(std::fs::read_to_string(&key).unwrap(), "hunter2");
    for file in tree(&run)
        .into_iter()
        .filter(|file| file.is_file() && *file != key)
    {
        let text = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("hunter2"), "{}", file.display());
    }
    let id = job(&sent, 0);
    cluster.await_state(&id, &["COMPLETED"]);
    assert_eq!(
        cluster.field(&id, "%j"),
        format!("{}-1", sent["tag"].as_str().unwrap())
    );
    let environment = std::fs::read_to_string(&seen).unwrap();
    assert!(!environment.contains("hunter2"), "{environment}");
    assert!(environment.contains("SLURM_NTASKS=1\n"), "{environment}");
    assert!(!environment.contains("SLURM_MEM_PER_CPU"), "{environment}");
    let log = std::fs::read_to_string(run.join(format!("logs/drive-{id}.out"))).unwrap();
    assert!(log.contains(&format!("setup of {id}\n")), "{log}");
    let ended = read_json(&run.join("main/ended.json"));
    assert_eq!(ended["outcome"], "done", "{log}");
    assert!(plain.run(&[]).output().unwrap().status.success());
    let found = std::fs::read_to_string(odd.join("requests/8_8/capacity.json")).unwrap();
    assert_eq!(found, plain.capacity("8_8"));
}

#[test]
fn an_array_has_a_task_a_pair_and_a_report() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("TOKENS_LIST=8:8,16:16,8:16", SMALL);
    let sent = answer(
        &cluster,
        &space,
        &["submit", "--mode", "array", "--throttle", "2"],
    );
    let run = PathBuf::from(sent["path"].as_str().unwrap());
    let script = std::fs::read_to_string(run.join("drive.slurm")).unwrap();
    assert!(script.contains("#SBATCH --array=0-2%2\n"), "{script}");
    let (array, report) = (job(&sent, 0), job(&sent, 1));
    cluster.await_state(&report, &["COMPLETED"]);
    for task in 0..3 {
        let ended = read_json(&run.join(format!("task-{task}/ended.json")));
        assert_eq!(ended["outcome"], "done");
        assert!(run.join(format!("logs/drive-{array}_{task}.out")).is_file());
    }
    let table = std::fs::read_to_string(run.join("report.csv")).unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");

    // One task is missing, as after a node failure: it alone goes on, and finds all its trials.
    std::fs::remove_file(run.join("task-1/ended.json")).unwrap();
    let name = sent["run"].as_str().unwrap();
    let again = answer(&cluster, &space, &["resume", name]);
    assert_eq!(again["tasks"], serde_json::json!([1]));
    assert_eq!(
        again["jobs"][0]["name"],
        format!("{}-2", sent["tag"].as_str().unwrap())
    );
    cluster.await_state(&job(&again, 1), &["COMPLETED"]);
    assert_eq!(cluster.field(&job(&again, 0), "%K"), "1");
    assert_eq!(read_json(&run.join("task-1/ended.json"))["outcome"], "done");
    let trials = space.trials("16_16");
    assert!(trials.values().all(|folders| folders.len() == 1), "{trials:?}");

    // Nothing is missing; a pair can be measured anew.
    let told = output(&cluster, &space, &["resume", name]);
    assert!(told.status.success());
    assert!(String::from_utf8_lossy(&told.stdout).contains("every pair has its answer"));
    let fresh = answer(&cluster, &space, &["resume", name, "--pair", "8_16", "--fresh"]);
    assert_eq!(fresh["tasks"], serde_json::json!([2]));
    cluster.await_state(&job(&fresh, 1), &["COMPLETED"]);
    assert!(space.trials("8_16").values().all(|folders| folders.len() == 2));
    assert!(space.trials("8_8").values().all(|folders| folders.len() == 1));
}

#[test]
fn a_run_that_waits_is_not_resumed_and_a_cancelled_one_is() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("", &format!("{SMALL}sbatch: [--hold]\n"));
    let sent = answer(&cluster, &space, &["submit"]);
    let (id, name) = (job(&sent, 0), sent["run"].as_str().unwrap());
    let refused = output(&cluster, &space, &["resume", name]);
    assert_eq!(refused.status.code(), Some(3));
    let told = stderr(&refused);
    assert!(
        told.contains(&format!("job {id} is pending")) && told.contains("mst cancel"),
        "{told}"
    );
    cluster.ask("scancel", &[&id]);
    cluster.await_state(&id, &["CANCELLED"]);
    let run = PathBuf::from(sent["path"].as_str().unwrap());
    std::fs::write(run.join("cancel"), "").unwrap();

    // Refused by Slurm, the run is as it was.
    let refused = output(&cluster, &space, &["resume", name, "--time", "2-00:00:00"]);
    assert!(
        refused.status.success(),
        "a partition's limit makes a job wait: {}",
        stderr(&refused)
    );
    let second = cluster
        .jobs()
        .into_iter()
        .find(|(other, ..)| *other != id)
        .unwrap();
    assert_eq!(second.2, format!("{}-2", sent["tag"].as_str().unwrap()));
    assert_eq!(cluster.field(&second.0, "%l"), "2-00:00:00");
    assert!(!run.join("cancel").exists());
    cluster.ask("scancel", &[&second.0]);
    cluster.await_state(&second.0, &["CANCELLED"]);
    std::fs::write(run.join("cancel"), "").unwrap();
    let script = run.join("drive.slurm");
    let broken = std::fs::read_to_string(&script)
        .unwrap()
        .replace("#SBATCH --nodes=1", "#SBATCH --nodes=1 --partition=nosuch");
    std::fs::write(&script, broken).unwrap();
    let refused = output(&cluster, &space, &["resume", name]);
    assert_eq!(refused.status.code(), Some(11), "{}", stderr(&refused));
    assert!(run.join("cancel").exists());
}

#[test]
fn nobody_knows_whether_a_run_is_alive_without_the_controller() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("", &format!("{SMALL}sbatch: [--hold]\n"));
    let sent = answer(&cluster, &space, &["submit"]);
    cluster.slurm_cluster("ctld-stop", &[]);
    let refused = output(&cluster, &space, &["resume", sent["run"].as_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(11));
    assert!(stderr(&refused).contains("is not known"), "{}", stderr(&refused));
}

#[test]
fn a_server_on_a_component_of_its_own_is_a_heterogeneous_job() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace(
        "SERVER_COMMAND=serve\nSERVER_PLACE=group\nNODE_LIST=n3",
        &format!("{SMALL}sbatch: [--hold, \"--comment='two words'\"]\n"),
    );
    let sent = answer(&cluster, &space, &["submit"]);
    let id = job(&sent, 0);
    let rows = cluster.ask("squeue", &["-h", "-o", "%i|%j|%b|%n|%l"]);
    let name = format!("{}-1", sent["tag"].as_str().unwrap());
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0].starts_with(&format!("{id}+0|{name}|N/A|")), "{rows:?}");
    assert!(
        rows[1].starts_with(&format!("{id}+1|{name}|gres:gpu:1|n3|")),
        "{rows:?}"
    );
    assert!(rows.iter().all(|row| row.ends_with("|1:00:00")), "{rows:?}");
}

#[test]
fn a_server_of_another_place_is_warned_of() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("URL=http://localhost:8000", &format!("{SMALL}sbatch: [--hold]\n"));
    let sent = output(&cluster, &space, &["submit"]);
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert!(
        stderr(&sent).contains("the node that it runs on, not this one"),
        "{}",
        stderr(&sent)
    );
    let shown = String::from_utf8(sent.stdout).unwrap();
    for fragment in [
        "is in the queue",
        "mst status ",
        "mst logs -f ",
        "mst cancel ",
        "Results: ",
    ] {
        assert!(shown.contains(fragment), "{fragment}: {shown}");
    }
    wait_for("the job is held", LIMIT, || {
        cluster.jobs().iter().any(|(_, state, _)| state == "PENDING")
    });
    let gpus = cluster.ask("squeue", &["-h", "-o", "%b"]);
    assert_eq!(gpus, "N/A");
}
