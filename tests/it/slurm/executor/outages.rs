//! A controller that is away, hangs, or forgets.

use mst::executor::slurm::{Batch, Submission, look_up, submit, verify};

use super::*;

#[test]
fn a_job_is_submitted_once_the_controller_is_back() {
    let Some(ground) = Ground::new() else { return };
    ground.cluster.slurm_cluster("ctld-stop", &[]);
    let mut running = ground
        .sbatch("")
        .start(&ground.command("one", "echo once"))
        .unwrap();
    let mut news = Vec::new();
    wait_for("the silence is told", LIMIT, || {
        assert_eq!(running.poll().unwrap(), None);
        news.extend(std::iter::from_fn(|| running.news()));
        !news.is_empty()
    });
    assert!(news[0].contains("did not answer"), "{news:?}");
    ground.cluster.slurm_cluster("ctld-start", &[]);
    assert_eq!(end(running).0.unwrap(), Exit::Code(0));
    ground.only(&format!("{PREFIX}1"));
    assert_eq!(log(&ground.folder("one")), "once\n");
}

#[test]
fn a_submission_that_timed_out_but_was_accepted_is_found_by_its_name() {
    let Some(ground) = Ground::new() else { return };
    ground.cluster.slurm_cluster("ctld-pause", &[]);
    let running = ground
        .sbatch("")
        .start(&ground.command("one", "echo once"))
        .unwrap();
    wait_for("the submission is in doubt", LIMIT, || {
        ground
            .notes()
            .iter()
            .any(|note| matches!(note, Note::Doubt { .. }))
    });
    ground.cluster.slurm_cluster("ctld-resume", &[]);
    assert_eq!(end(running).0.unwrap(), Exit::Code(0));
    ground.only(&format!("{PREFIX}1"));
    assert_eq!(log(&ground.folder("one")), "once\n");
    // The job may have been quicker than the look-up.
    wait_for("it is found by its name", LIMIT, || {
        matches!(ground.notes().last(), Some(Note::Found { .. }))
    });
}

/// The job that Slurm took without saying so starts after all, and finds that nobody waits for it.
#[test]
fn a_job_that_was_given_up_in_doubt_loads_nothing() {
    let Some(ground) = Ground::new() else { return };
    ground.cluster.slurm_cluster("ctld-pause", &[]);
    let mut running = ground
        .sbatch("")
        .start(&ground.command("one", "echo loaded"))
        .unwrap();
    wait_for("the submission is in doubt", LIMIT, || {
        ground
            .notes()
            .iter()
            .any(|note| matches!(note, Note::Doubt { .. }))
    });
    running.kill();
    drop(running);
    ground.cluster.slurm_cluster("ctld-resume", &[]);
    ground.await_job(&format!("{PREFIX}1"), &["COMPLETED", "FAILED", "CANCELLED"]);
    assert!(!log(&ground.folder("one")).contains("loaded"));
}

#[test]
fn the_exit_status_counts_while_the_controller_is_away() {
    let Some(ground) = Ground::new() else { return };
    let command = ground.command("one", "while [ ! -e go ]; do sleep 0.1; done");
    let running = ground.sbatch("").start(&command).unwrap();
    ground.await_job(&format!("{PREFIX}1"), &["RUNNING"]);
    ground.cluster.slurm_cluster("ctld-kill", &[]);
    std::fs::write(ground.folder("one").join("go"), "").unwrap();
    assert_eq!(end(running).0.unwrap(), Exit::Code(0));
    ground.cluster.slurm_cluster("ctld-start", &[]);
}

/// A crash right after the acknowledgement loses the job, and gives its id to the next one. Not every time.
#[test]
fn an_id_that_was_given_to_another_job_is_not_ours() {
    let Some(ground) = Ground::new() else { return };
    let slurm = ground.slurm();
    let script = ground.dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\nsleep 600\n").unwrap();
    for n in 1..=5 {
        let tag = format!("mst-1a2b3c4d-{n}");
        let submission = Submission {
            tag: tag.clone(),
            batch: Batch {
                script: script.clone(),
                options: vec!["--output=/dev/null".to_owned()],
                arguments: Vec::new(),
            },
            patience: Duration::from_mins(1),
        };
        let id = submit(&slurm, &ground.run.journal(None), &submission).unwrap();
        assert_eq!(look_up(&slurm, &tag).unwrap(), Some(id.clone()));
        assert!(verify(&slurm, &id, &tag).unwrap().is_some());
        std::thread::sleep(Duration::from_millis(500));
        ground.cluster.slurm_cluster("ctld-kill", &[]);
        assert!(verify(&slurm, &id, &tag).is_err());
        ground.cluster.slurm_cluster("ctld-start", &[]);
        let other = ground.cluster.submit(&["--job-name=other"], "sleep 600");
        if other == id.as_str() {
            assert_eq!(verify(&slurm, &id, &tag).unwrap(), None);
            assert_eq!(look_up(&slurm, &tag).unwrap(), None);
            // Cancelling ours by its name leaves the other alone.
            slurm.cancel_named(&tag).unwrap();
            assert!(matches!(
                ground.cluster.state(&other).as_str(),
                "RUNNING" | "PENDING"
            ));
            return;
        }
        assert!(verify(&slurm, &id, &tag).unwrap().is_some());
    }
    panic!("no job was lost in five crashes: this test shows nothing");
}

#[test]
fn the_end_of_a_job_is_told_from_what_is_left() {
    let Some(ground) = Ground::new() else { return };
    let slurm = ground.slurm();
    slurm.ping().unwrap();
    let job = ground.cluster.submit(&["--time=20"], "sleep 600");
    ground.cluster.await_state(&job, &["RUNNING"]);
    let id = JobId::parse(&job).unwrap();
    let left = |id: &JobId| {
        let end = slurm.deadline(id).unwrap()?;
        Some(
            end.duration_since(std::time::SystemTime::now())
                .unwrap_or_default(),
        )
    };
    let first = left(&id).unwrap();
    assert!(
        first <= Duration::from_mins(20) && first > Duration::from_mins(15),
        "{first:?}"
    );
    // It can be changed while the job runs.
    ground
        .cluster
        .ask("scontrol", &["update", &format!("jobid={job}"), "TimeLimit=10"]);
    assert!(left(&id).unwrap() <= Duration::from_mins(10));
    assert_eq!(left(&JobId::parse("4711").unwrap()), None);
    ground.cluster.slurm_cluster("ctld-stop", &[]);
    assert!(slurm.deadline(&id).is_err());
    assert!(slurm.ping().is_err());
}
