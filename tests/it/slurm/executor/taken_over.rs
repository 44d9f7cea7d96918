//! Jobs that outlive their driver.

use super::*;

const WAITS: &str = "echo begun; while [ ! -e go ]; do sleep 0.1; done; echo done";

#[test]
fn a_job_of_a_dead_driver_is_taken_over() {
    let Some(ground) = Ground::new() else { return };
    let folder = ground.folder("one");
    let first = ground.sbatch("").start(&ground.command("one", WAITS)).unwrap();
    ground.await_job(&format!("{PREFIX}1"), &["RUNNING"]);
    // As if its process were gone.
    std::mem::forget(first);
    let mut second = ground.sbatch("").attach(&folder).expect("the job lives");
    assert_eq!(second.poll().unwrap(), None);
    std::fs::write(folder.join("go"), "").unwrap();
    assert_eq!(end(second).0.unwrap(), Exit::Code(0));
    // Also after it ended.
    let third = ground.sbatch("").attach(&folder).expect("the job ended well");
    assert_eq!(end(third).0.unwrap(), Exit::Code(0));
    assert_eq!(log(&folder), "begun\ndone\n");
    ground.only(&format!("{PREFIX}1"));
}

#[test]
fn what_did_not_end_well_is_not_taken_over() {
    let Some(ground) = Ground::new() else { return };
    let sbatch = ground.sbatch("");
    assert!(sbatch.attach(&ground.folder("empty")).is_none());
    let failed = sbatch.start(&ground.command("failed", "exit 3")).unwrap();
    assert_eq!(end(failed).0.unwrap(), Exit::Code(3));
    assert!(sbatch.attach(&ground.folder("failed")).is_none());
    let cancelled = sbatch.start(&ground.command("cancelled", "sleep 600")).unwrap();
    let id = ground.await_job(&format!("{PREFIX}2"), &["RUNNING"]);
    std::mem::forget(cancelled);
    ground.cluster.ask("scancel", &[id.as_str()]);
    ground.await_job(&format!("{PREFIX}2"), &["CANCELLED"]);
    assert!(sbatch.attach(&ground.folder("cancelled")).is_none());
}

#[test]
fn leftovers_are_ended_before_anything_new_begins() {
    let Some(ground) = Ground::new() else { return };
    let sbatch = ground.sbatch("");
    let never = &|| false;
    sbatch.abandon(&ground.folder("empty"), never).unwrap();
    std::mem::forget(
        sbatch
            .start(&ground.command("runs", "trap '' TERM; echo at work; sleep 600"))
            .unwrap(),
    );
    // Not only Slurm's RUNNING: a job that finds nobody waiting for it when it begins fails by itself.
    wait_for("the first command is at work", LIMIT, || {
        log(&ground.folder("runs")).contains("at work")
    });
    std::mem::forget(
        ground
            .sbatch("#SBATCH --hold")
            .start(&ground.command("waits", "echo loaded"))
            .unwrap(),
    );
    ground.await_job(&format!("{PREFIX}2"), &["PENDING"]);
    for name in ["runs", "waits"] {
        sbatch.abandon(&ground.folder(name), never).unwrap();
    }
    // The load generator's end is known before Slurm has put its job away.
    ground.await_job(&format!("{PREFIX}1"), &["CANCELLED"]);
    ground.await_job(&format!("{PREFIX}2"), &["CANCELLED"]);
    assert_eq!(log(&ground.folder("waits")), "");
}

/// The node died for the controller, its processes go on: they see that nobody waits for them.
#[test]
fn a_job_on_a_lost_node_ends_by_itself() {
    let Some(ground) = Ground::new() else { return };
    let sbatch = ground.sbatch("#SBATCH -w n2");
    let lines = "echo $$ > pid; while :; do sleep 0.1; done";
    let running = sbatch.start(&ground.command("one", lines)).unwrap();
    let folder = ground.folder("one");
    let pid = folder.join("pid");
    wait_for("the job says its process", LIMIT, || {
        std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    let process = PathBuf::from("/proc").join(std::fs::read_to_string(&pid).unwrap().trim());
    ground.cluster.slurm_cluster("node-kill", &["n2"]);
    ground.cluster.ask(
        "scontrol",
        &["update", "nodename=n2", "state=down", "reason=test"],
    );
    assert!(process.exists());
    let error = end(running).0.unwrap_err();
    assert!(error.to_string().contains("lost its node"), "{error}");
    // What the next trial does before it begins.
    sbatch.abandon(&folder, &|| false).unwrap();
    wait_for("the process is gone", LIMIT, || {
        std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}
