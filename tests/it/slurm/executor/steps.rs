//! Commands by srun.

use mst::executor::srun::Srun;

use super::*;

fn small_jobs(ground: &Ground) -> Srun {
    Srun::new(ground.slurm(), Vec::new(), PREFIX, Duration::from_millis(500))
}

#[test]
fn outside_of_a_job_each_command_is_a_small_job() {
    let Some(ground) = Ground::new() else { return };
    let srun = small_jobs(&ground);
    let mut command = ground.command("one", "echo \"$GREETING\"; echo \"in $SLURM_JOB_NAME\"; exit 7");
    command
        .env
        .push(("GREETING".to_owned(), "it's \"me\"".to_owned()));
    assert_eq!(end(srun.start(&command).unwrap()).0.unwrap(), Exit::Code(7));
    let text = log(&ground.folder("one"));
    // What srun has to say itself may come first: its lines and the command's reach the log by two ways.
    assert!(text.contains(&format!("it's \"me\"\nin {PREFIX}1\n")), "{text}");
    let killed = srun.start(&ground.command("two", "kill -SEGV $$")).unwrap();
    assert_eq!(end(killed).0.unwrap(), Exit::Signal(11));
    let mut command = ground.command("three", "sleep 600");
    command.timeout = Some(Duration::from_secs(2));
    assert_eq!(end(srun.start(&command).unwrap()).0.unwrap(), Exit::TimedOut);
    wait_for("the job is over", LIMIT, || {
        !matches!(
            ground.only(&format!("{PREFIX}3")).0.as_str(),
            "RUNNING" | "COMPLETING"
        )
    });
}

#[test]
fn the_job_of_an_srun_that_was_killed_is_ended_later() {
    let Some(ground) = Ground::new() else { return };
    let srun = small_jobs(&ground);
    let running = srun.start(&ground.command("one", "sleep 600")).unwrap();
    ground.await_job(&format!("{PREFIX}1"), &["RUNNING"]);
    // So hard that it cannot end its job: what is left in the staging folder names that.
    for pid in running.pids() {
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    std::mem::forget(running);
    assert_eq!(ground.only(&format!("{PREFIX}1")).0, "RUNNING");
    small_jobs(&ground)
        .abandon(&ground.folder("one"), &|| false)
        .unwrap();
    assert_eq!(ground.only(&format!("{PREFIX}1")).0, "CANCELLED");
}

/// The driver is killed, srun goes on until the next driver sweeps.
#[test]
fn sweeping_ends_what_srun_runs() {
    let Some(ground) = Ground::new() else { return };
    let store = mst::store::Store::open(ground.dir.path()).unwrap();
    let staged = ".staging/8_8/a";
    let running = small_jobs(&ground)
        .start(&ground.command(staged, "touch began; sleep 600"))
        .unwrap();
    let folder = ground.folder(staged);
    // A job runs before its step does, and an srun that is ended in between leaves it to `abandon`.
    wait_for("the command runs", LIMIT, || folder.join("began").exists());
    store.leave_trace(&folder, &running.pids()).unwrap();
    std::mem::forget(running);
    store.sweep("8_8").unwrap();
    ground.await_job(&format!("{PREFIX}1"), &["CANCELLED", "FAILED"]);
}

/// The driver's part of the next test: this test program runs again within a job.
#[test]
#[ignore = "run within a job by a_command_is_a_step_of_our_own_job"]
fn within_a_job() {
    let folder = PathBuf::from(std::env::var("MST_TEST_FOLDER").unwrap());
    assert!(std::env::var_os("CUDA_VISIBLE_DEVICES").is_some());
    let options = ["--mem=50", "-w", "n2"].map(str::to_owned).to_vec();
    let srun = Srun::new(Slurm::default(), options, PREFIX, Duration::from_secs(1));
    let command = |name: &str, lines: &str| Command {
        argv: ["sh", "-c", lines].map(Into::into).to_vec(),
        env: Vec::new(),
        cwd: None,
        log: folder.join(name),
        timeout: None,
    };
    // Beside one that takes the whole job.
    let server = srun.start(&command("server", "sleep 600")).unwrap();
    let lines = "echo \"gpus=$CUDA_VISIBLE_DEVICES step=$SLURM_STEP_ID node=$SLURMD_NODENAME\"; exit 5";
    assert_eq!(
        end(srun.start(&command("load", lines)).unwrap()).0.unwrap(),
        Exit::Code(5)
    );
    drop(server);
    std::fs::write(folder.join("whole"), "").unwrap();
}

#[test]
fn a_command_is_a_step_of_our_own_job() {
    let Some(ground) = Ground::new() else { return };
    let folder = ground.folder("job");
    let program = std::env::current_exe().unwrap();
    let line = format!(
        "MST_TEST_FOLDER={} {} --exact --ignored slurm::executor::steps::within_a_job",
        folder.display(),
        program.display()
    );
    let output = format!("--output={}", folder.join("out").display());
    // As a driver's job that was submitted with --export=NONE, with two nodes and GPUs.
    let options = [
        output.as_str(),
        "-N2",
        "-w",
        "n[1-2]",
        "--gpus-per-node=2",
        "--mem-per-cpu=200",
        "--export=NONE",
    ];
    let job = ground.cluster.submit(&options, &line);
    ground.cluster.await_state(&job, &["COMPLETED", "FAILED"]);
    let text = std::fs::read_to_string(folder.join("out")).unwrap();
    let load = std::fs::read_to_string(folder.join("load")).unwrap_or_default();
    assert!(folder.join("whole").exists(), "{text}\n{load}");
    assert!(load.contains("gpus= step=") && load.contains("node=n2"), "{load}");
}
