//! How jobs end, and how they are told apart.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_command_is_a_job_and_its_status_comes_back() {
    let Some(ground) = Ground::new() else { return };
    let sbatch = ground.sbatch("#SBATCH --ntasks=1");
    let mut command = ground.command("one", "echo \"$GREETING\"; pwd; echo trouble >&2; exit 7");
    command
        .env
        .push(("GREETING".to_owned(), "it's \"me\"".to_owned()));
    let (exit, news) = end(sbatch.start(&command).unwrap());
    assert_eq!(exit.unwrap(), Exit::Code(7));
    let folder = ground.folder("one");
    assert_eq!(
        log(&folder),
        format!("it's \"me\"\n{}\ntrouble\n", folder.display())
    );
    assert!(news[0].contains("job 1"), "{news:?}");
    let (exit, _) = end(sbatch.start(&ground.command("two", "true")).unwrap());
    assert_eq!(exit.unwrap(), Exit::Code(0));
    let notes = ground.notes();
    assert!(
        matches!(
            notes.as_slice(),
            [
                Note::Intent { .. },
                Note::Submitted { .. },
                Note::Intent { .. },
                Note::Submitted { .. }
            ]
        ),
        "{notes:?}"
    );
    // A driver that is started again gives no name twice.
    let (exit, _) = end(ground
        .sbatch("")
        .start(&ground.command("three", "kill -9 $$"))
        .unwrap());
    assert_eq!(exit.unwrap(), Exit::Signal(9));
    let names: Vec<String> = ground.cluster.jobs().into_iter().map(|job| job.2).collect();
    assert_eq!(names.len(), 3);
    assert!(names.contains(&format!("{PREFIX}3")));
}

#[test]
fn the_key_is_in_one_file_that_only_we_can_read() {
    let Some(ground) = Ground::new() else { return };
    let mut command = ground.command(
        "one",
        "echo \"${#MST_API_KEY}\"; while [ ! -e go ]; do sleep 0.1; done",
    );
    let secret = "sk-of-the-house-4711";
    command.env.push(("MST_API_KEY".to_owned(), secret.to_owned()));
    let running = ground.sbatch("").start(&command).unwrap();
    let folder = ground.folder("one");
    wait_for("the job runs", LIMIT, || !log(&folder).is_empty());
    assert_eq!(log(&folder), format!("{}\n", secret.len()));
    let id = ground.await_job(&format!("{PREFIX}1"), &["RUNNING"]);
    let told = ground
        .cluster
        .ask("scontrol", &["show", "job", "-dd", id.as_str()]);
    assert!(told.contains("JobId=") && !told.contains(secret), "{told}");
    let kept = ground.dir.path().join("kept");
    let kept_path = kept.display().to_string();
    ground
        .cluster
        .ask("scontrol", &["write", "batch_script", id.as_str(), &kept_path]);
    assert!(!std::fs::read_to_string(kept).unwrap().contains(secret));
    // What the controller keeps of a job: its script and its environment.
    let mut held = 0;
    for root in [
        ground.cluster.folder().join("state"),
        ground.dir.path().to_owned(),
    ] {
        for entry in walkdir::WalkDir::new(root).into_iter().filter_map(Result::ok) {
            let Ok(bytes) = std::fs::read(entry.path()) else {
                continue;
            };
            if String::from_utf8_lossy(&bytes).contains(secret) {
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
                held += 1;
            }
        }
    }
    assert_eq!(held, 1);
    std::fs::write(folder.join("go"), "").unwrap();
    assert_eq!(end(running).0.unwrap(), Exit::Code(0));
    let left: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert!(
        left.iter()
            .all(|path| path.extension().is_none_or(|e| e != "env")),
        "{left:?}"
    );
}

#[test]
fn what_was_done_to_a_job_is_told_apart() {
    let Some(ground) = Ground::new() else { return };
    let start = |name: &str, lines: &str| {
        let running = ground.sbatch(lines).start(&ground.command(name, "sleep 600"));
        (name.to_owned(), running.unwrap())
    };
    let limited = start("limited", "#SBATCH --time=1\n#SBATCH -w n1");
    ground.await_job(&format!("{PREFIX}1"), &["RUNNING"]);
    let cancelled = start("cancelled", "#SBATCH -w n1");
    let id = ground.await_job(&format!("{PREFIX}2"), &["RUNNING"]);
    ground.cluster.ask("scancel", &[id.as_str()]);
    let lost = start("lost", "#SBATCH -w n2");
    ground.await_job(&format!("{PREFIX}3"), &["RUNNING"]);
    ground.cluster.slurm_cluster("node-fail", &["n2"]);
    let preempted = start("preempted", "#SBATCH -w n3");
    ground.await_job(&format!("{PREFIX}4"), &["RUNNING"]);
    ground
        .cluster
        .submit(&["-p", "urgent", "-w", "n3", "--exclusive"], "sleep 600");
    let suspended = start("suspended", "#SBATCH -w n4");
    let id = ground.await_job(&format!("{PREFIX}5"), &["RUNNING"]);
    ground.cluster.ask("scontrol", &["suspend", id.as_str()]);
    let failed = start("failed", "#SBATCH -w n4\nexit 3");
    let ends = [
        (cancelled, "cancelled by somebody"),
        (lost, "lost its node"),
        (preempted, "preempted"),
        (suspended, "suspended"),
        (limited, "time limit"),
        (failed, "failed before"),
    ];
    for ((name, running), words) in ends {
        let error = end(running).0.unwrap_err();
        assert!(error.is_batch_systems() && error.is_worth_a_retry());
        let text = error.to_string();
        assert!(text.contains(words), "{name}: {text}");
    }
}

#[test]
fn time_in_the_queue_does_not_count() {
    let Some(ground) = Ground::new() else { return };
    let waiting = ground.sbatch("#SBATCH --hold");
    let mut command = ground.command("one", "sleep 1");
    command.timeout = Some(Duration::from_secs(20));
    let mut running = waiting.start(&command).unwrap();
    let id = ground.await_job(&format!("{PREFIX}1"), &["PENDING"]);
    let mut news = Vec::new();
    wait_for("it is said to be held", LIMIT, || {
        assert_eq!(running.poll().unwrap(), None);
        news.extend(std::iter::from_fn(|| running.news()));
        news.iter().any(|text| text.contains("scontrol release"))
    });
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(running.poll().unwrap(), None);
    ground.cluster.ask("scontrol", &["release", id.as_str()]);
    assert_eq!(end(running).0.unwrap(), Exit::Code(0));

    let mut command = ground.command("two", "sleep 600");
    command.timeout = Some(Duration::from_secs(2));
    let running = ground.sbatch("").start(&command).unwrap();
    assert_eq!(end(running).0.unwrap(), Exit::TimedOut);
    ground.await_job(&format!("{PREFIX}2"), &["CANCELLED"]);
}

#[test]
fn a_refused_job_is_not_tried_again() {
    let Some(ground) = Ground::new() else { return };
    let sbatch = ground.sbatch("#SBATCH --partition=nosuch");
    let error = end(sbatch.start(&ground.command("one", "true")).unwrap())
        .0
        .unwrap_err();
    assert!(!error.is_worth_a_retry());
    assert!(
        error.to_string().contains("invalid partition specified: nosuch"),
        "{error}"
    );
    assert!(matches!(ground.notes().last(), Some(Note::Refused { .. })));
}

/// Slurm says what it will.
#[test]
fn odd_output_of_squeue_does_no_harm() {
    let Some(ground) = Ground::new() else { return };
    let bin = ground.folder("bin");
    let path = std::env::var("PATH").unwrap();
    let odd = |text: &str| {
        let squeue = bin.join("squeue");
        std::fs::write(&squeue, format!("#!/bin/sh\nPATH='{path}'\n{text}\n")).unwrap();
        std::fs::set_permissions(&squeue, PermissionsExt::from_mode(0o755)).unwrap();
    };
    let mut slurm = ground.slurm();
    slurm.patience = Duration::from_secs(5);
    slurm
        .environment
        .push(("PATH".to_owned(), format!("{}:{path}", bin.display())));
    // A state and a column that nobody knows, and a line of the site's.
    odd("echo 'Maintenance on Monday'; squeue \"$@\" | sed 's/RUNNING/WARPED/; s/$/|more/'");
    let running = ground
        .sbatch_by(slurm.clone(), "")
        .start(&ground.command("one", "sleep 5; exit 4"))
        .unwrap();
    let (exit, news) = end(running);
    assert_eq!(exit.unwrap(), Exit::Code(4));
    assert!(news.iter().any(|text| text.contains("WARPED")), "{news:?}");
    // One that hangs.
    odd("sleep 600");
    let running = ground
        .sbatch_by(slurm, "")
        .start(&ground.command("two", "sleep 1"))
        .unwrap();
    assert_eq!(end(running).0.unwrap(), Exit::Code(0));
}
