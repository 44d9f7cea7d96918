use super::*;
use crate::cluster::Memory;

fn scripts() -> Scripts {
    Scripts {
        profile: Profile::default(),
        templates: Templates::default(),
    }
}

fn context() -> DriveContext {
    DriveContext {
        mode: Mode::Job,
        run: "20261122-201503-1a2b".to_owned(),
        run_dir: PathBuf::from("/data/my runs/100%/run"),
        program: PathBuf::from("/opt/it's/mst"),
        submit_dir: PathBuf::from("/data/my runs"),
        walltime: None,
        warning: Duration::from_secs(2130),
        node_list: None,
        place: None,
        tasks: None,
    }
}

/// The options of a script, in order.
fn options(script: &str) -> Vec<&str> {
    assert!(script.starts_with("#!/bin/bash\n"), "{script}");
    script
        .lines()
        .filter_map(|line| line.strip_prefix("#SBATCH "))
        .collect()
}

/// Whether bash can read a script.
fn is_bash(script: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    std::process::Command::new("bash")
        .arg("-n")
        .arg(file)
        .status()
        .unwrap()
        .success()
}

#[test]
fn a_client_asks_for_no_gpu() {
    let script = scripts().drive(&context()).unwrap();
    assert_eq!(
        options(&script),
        [
            "--output='/data/my runs/100%%/run/logs/drive-%j.out'",
            "--open-mode=append",
            "--export=ALL",
            "--requeue",
            "--signal=B:USR1@2130",
            "--time=1-00:00:00",
            "--nodes=1",
            "--ntasks=1",
            "--ntasks-per-node=1",
            "--cpus-per-task=4",
            "--mem=2G",
        ]
    );
    assert!(script.contains("\ncd '/data/my runs' || exit 1\n"), "{script}");
    let exec = "\nexec '/opt/it'\\''s/mst' drive '/data/my runs/100%/run' \"$@\"\n";
    assert!(script.ends_with(exec), "{script}");
    assert!(is_bash(&script));
}

#[test]
fn a_server_beside_the_driver_adds_up_and_brings_gpus() {
    for place in [Place::Child, Place::Step] {
        let mut context = context();
        context.place = Some(place);
        let script = scripts().drive(&context).unwrap();
        let end = &options(&script)[6..];
        assert_eq!(
            end,
            [
                "--nodes=1",
                "--ntasks=1",
                "--ntasks-per-node=1",
                "--cpus-per-task=12",
                "--mem=34G",
                "--gpus-per-node=1"
            ]
        );
    }
}

#[test]
fn a_server_on_another_node_doubles_the_nodes() {
    let mut scripts = scripts();
    scripts.profile.server.gres = Some("gpu:a100:2".to_owned());
    scripts.profile.driver.mem = None;
    let mut context = context();
    context.place = Some(Place::Node);
    let script = scripts.drive(&context).unwrap();
    let end = &options(&script)[6..];
    assert_eq!(
        end,
        [
            "--nodes=2",
            "--ntasks=2",
            "--ntasks-per-node=1",
            "--cpus-per-task=8",
            "--gres=gpu:a100:2"
        ]
    );
}

#[test]
fn a_heterogeneous_job_has_two_components() {
    let mut scripts = scripts();
    scripts.profile.partition = Some("cpu".to_owned());
    scripts.profile.account = Some("lab".to_owned());
    scripts.profile.server.partition = Some("gpu".to_owned());
    scripts.profile.sbatch = vec!["--reservation=maint 1".to_owned()];
    let mut context = context();
    context.place = Some(Place::Group);
    context.node_list = Some("n[1-3]".to_owned());
    let script = scripts.drive(&context).unwrap();
    let all = options(&script);
    let second = all.iter().position(|line| *line == "hetjob").unwrap();
    let (first, second) = all.split_at(second);
    for line in [
        "--partition=cpu",
        "--account=lab",
        "--nodes=1",
        "--reservation=maint 1",
    ] {
        assert!(first.contains(&line), "{line}: {script}");
    }
    assert!(
        !first
            .iter()
            .any(|line| line.contains("gpu") || line.contains("nodelist"))
    );
    for line in [
        "--time=1-00:00:00",
        "--partition=gpu",
        "--account=lab",
        "--nodelist='n[1-3]'",
        "--nodes=1",
        "--gpus-per-node=1",
        "--reservation=maint 1",
    ] {
        assert!(second.contains(&line), "{line}: {script}");
    }
    assert!(!second.contains(&"--partition=cpu"));
}

#[test]
fn an_array_has_a_task_a_pair() {
    let mut context = context();
    context.mode = Mode::Array;
    context.tasks = Some((6, Some(2)));
    let script = scripts().drive(&context).unwrap();
    assert!(options(&script).contains(&"--array=0-5%2"), "{script}");
    assert!(script.contains("/logs/drive-%A_%a.out'"));
    assert!(
        script.ends_with(" --task \"$SLURM_ARRAY_TASK_ID\" \"$@\"\n"),
        "{script}"
    );
    context.tasks = Some((1, None));
    let script = scripts().drive(&context).unwrap();
    assert!(options(&script).contains(&"--array=0-0"), "{script}");
}

#[test]
fn the_warning_leaves_time_to_work() {
    let minutes = |count: u64| Some(Duration::from_mins(count));
    let asked = Duration::from_secs(2130);
    assert_eq!(warning(asked, minutes(1440)), 2130);
    assert_eq!(warning(asked, minutes(40)), 1200);
    assert_eq!(warning(asked, minutes(1)), 30);
    assert_eq!(warning(asked, None), 2130);
    assert_eq!(warning(Duration::from_secs(100_000), None), 65_535);
    assert_eq!(warning(Duration::ZERO, None), 1);
}

#[test]
fn modules_and_setup_come_before_anything_starts() {
    let mut scripts = scripts();
    scripts.profile.modules = vec!["cuda/12.4".to_owned(), "my module".to_owned()];
    scripts.profile.setup = "export A=\"b c\"\nulimit -n 4096\n".to_owned();
    scripts.profile.requeue = false;
    let drive = scripts.drive(&context()).unwrap();
    assert!(options(&drive).contains(&"--no-requeue"));
    let trial = scripts
        .trial(&TrialContext {
            argv: vec!["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()],
            env_file: Some(PathBuf::from("/d/e f")),
            cwd: PathBuf::from("/d"),
            log: PathBuf::from("/d/log"),
            done_file: PathBuf::from("/d/done"),
            walltime: Some(Duration::from_secs(61)),
            node_list: None,
        })
        .unwrap();
    assert!(options(&trial).contains(&"--time=00:01:01"), "{trial}");
    let server = scripts
        .server(&ServerContext {
            argv: vec!["/opt/mst".to_owned(), "host".to_owned(), "/a b".to_owned()],
            cwd: PathBuf::from("/d"),
            log: PathBuf::from("/d/%/log"),
            walltime: None,
            node_list: None,
        })
        .unwrap();
    assert!(server.ends_with("\nexec /opt/mst host '/a b'\n"), "{server}");
    assert!(options(&server).contains(&"--output=/d/%%/log"), "{server}");
    for script in [&drive, &trial, &server] {
        let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text}: {script}"));
        assert!(
            at("module load cuda/12.4 'my module' || exit 1\n") < at("export A=\"b c\"\nulimit -n 4096\n")
        );
        assert!(at("ulimit") < script.rfind("exec ").unwrap());
        assert!(is_bash(script), "{script}");
    }
}

#[test]
fn a_trial_leaves_its_status() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a b");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("env"), "export KEY='it'\\''s'\n").unwrap();
    let script = scripts()
        .trial(&TrialContext {
            argv: ["sh", "-c", "pwd; echo \"$KEY $1\"; exit 3", "sh", "x  y"]
                .map(str::to_owned)
                .into(),
            env_file: Some(folder.join("env")),
            cwd: folder.clone(),
            log: folder.join("log"),
            done_file: folder.join("done"),
            walltime: None,
            node_list: None,
        })
        .unwrap();
    std::fs::write(dir.path().join("script"), &script).unwrap();
    let said = std::process::Command::new("bash")
        .arg(dir.path().join("script"))
        .output()
        .unwrap();
    assert!(said.status.success());
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        format!("{}\nit's x  y\n", folder.display())
    );
    assert_eq!(std::fs::read_to_string(folder.join("done")).unwrap(), "3\n");
    assert!(!folder.join("done.part").exists());
}

#[test]
fn a_report_gathers_what_is_there() {
    let mut context = ReportContext {
        run: "r".to_owned(),
        run_dir: PathBuf::from("/res/.runs/r"),
        program: PathBuf::from("echo"),
        submit_dir: PathBuf::from("/"),
        folders: vec![PathBuf::from("/no such/1_1"), PathBuf::from("/tmp")],
    };
    let run = |context: &ReportContext| {
        let script = scripts().report(context).unwrap();
        assert!(is_bash(&script), "{script}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("script"), &script).unwrap();
        let said = std::process::Command::new("bash")
            .arg(dir.path().join("script"))
            .output()
            .unwrap();
        assert!(said.status.success(), "{script}");
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert_eq!(run(&context), "report /tmp --csv /res/.runs/r/report.csv\n");
    context.folders.pop();
    assert!(run(&context).starts_with("mst: nothing was measured"));
}

#[test]
fn steps_name_their_share() {
    let scripts = scripts();
    let shared = ["--overlap", "--nodes=1", "--ntasks=1"];
    let step = scripts.trial_step();
    assert_eq!(step[..3], shared);
    assert_eq!(step[3..], ["--cpus-per-task=4", "--export=ALL", "--mem=2G"]);
    let step = scripts.server_step(Place::Group);
    assert_eq!(step[..3], shared);
    assert!(step.contains(&"--het-group=1".to_owned()) && step.contains(&"--gpus-per-node=1".to_owned()));
    assert!(
        scripts
            .server_step(Place::Node)
            .contains(&"--relative=1".to_owned())
    );
    let alone = scripts.trial_alone(Some("n[1-2]"), Some(Duration::from_mins(10)));
    assert!(alone.contains(&"--nodelist=n[1-2]".to_owned()) && alone.contains(&"--time=00:10:00".to_owned()));
    assert!(!alone.contains(&"--overlap".to_owned()));
}

#[test]
fn a_frozen_run_makes_the_same_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let slurm = dir.path().join("slurm");
    std::fs::create_dir(&slurm).unwrap();
    std::fs::write(slurm.join("cluster.yml"), "driver: {cpus: 2, mem: 700M}\n").unwrap();
    std::fs::write(
        slurm.join("report.slurm.j2"),
        "#!/bin/bash\n# mine, for {{ run }}\n",
    )
    .unwrap();
    let settings = crate::settings::load(&crate::settings::Sources {
        env_file: Some(PathBuf::from("/dev/null")),
        ..Default::default()
    })
    .unwrap()
    .settings
    .cluster;
    let before = Scripts::from_dir(dir.path(), &settings).unwrap();
    assert_eq!(before.profile.driver.mem, Some(Memory::megabytes(700)));
    let run = RunDir::create(&dir.path().join("requests")).unwrap();
    before.freeze(&run).unwrap();
    let after = Scripts::from_run(&run).unwrap();
    assert_eq!(after.profile, before.profile);
    assert_eq!(
        after.drive(&context()).unwrap(),
        before.drive(&context()).unwrap()
    );
    let texts = |scripts: &Scripts| -> Vec<String> {
        scripts
            .templates
            .texts()
            .map(|(_, text)| text.to_owned())
            .collect()
    };
    assert_eq!(texts(&after), texts(&before));
}

#[test]
fn what_sbatch_cannot_take_is_refused() {
    let mut with_backslash = context();
    with_backslash.run_dir = PathBuf::from("/a\\b");
    let error = scripts().drive(&with_backslash).unwrap_err().to_string();
    assert!(error.contains("backslash"), "{error}");
    let mut scripts = scripts();
    scripts.profile.sbatch = vec!["--comment=a\nb".to_owned()];
    let error = scripts.drive(&context()).unwrap_err();
    assert!(
        error.line.is_some() && error.to_string().contains("drive.slurm.j2"),
        "{error}"
    );
}

fn searches(server: Option<Place>, gpus: Option<u32>) -> CapacityContext {
    CapacityContext {
        searched: Some("big/chat".to_owned()),
        program: PathBuf::from("/opt/it's/mst"),
        arguments: vec![
            "capacity".to_owned(),
            "/a b.yml".to_owned(),
            "--only=big/chat".to_owned(),
        ],
        submit_dir: PathBuf::from("/data/my runs"),
        logs: PathBuf::from("/data/100%"),
        env_file: None,
        server,
        gpus,
        walltime: None,
    }
}

#[test]
fn searches_ask_for_gpus_only_where_they_start_a_server() {
    let mut scripts = scripts();
    let script = scripts.capacity(&searches(Some(Place::Child), Some(4))).unwrap();
    let asked = options(&script);
    for option in [
        "--gpus=4",
        "--cpus-per-task=12",
        "--mem=34G",
        "--requeue",
        "--output=/data/100%%/capacity-%j.out",
    ] {
        assert!(asked.contains(&option), "{option}: {script}");
    }
    assert!(script.contains("# The GPUs are for the model server"), "{script}");
    assert!(
        script.ends_with("\nexec '/opt/it'\\''s/mst' capacity '/a b.yml' --only=big/chat\n"),
        "{script}"
    );
    assert!(is_bash(&script), "{script}");

    let alone = scripts.capacity(&searches(None, Some(4))).unwrap();
    assert!(
        !options(&alone).iter().any(|option| option.contains("gpu")),
        "{alone}"
    );
    assert!(options(&alone).contains(&"--cpus-per-task=4"), "{alone}");
    assert!(alone.contains("# No GPU: the system is simulated"), "{alone}");

    // The profile says of what kind they are, and how many where the file does not.
    for (gpus, gres, nodes, wanted, option) in [
        ("a100:2", None, 1, None, "--gpus=a100:2"),
        ("a100:2", None, 1, Some(8), "--gpus=a100:8"),
        ("a100:2", None, 2, Some(8), "--gpus-per-node=a100:4"),
        ("1", Some("gpu:h100:1"), 1, Some(2), "--gres=gpu:h100:2"),
    ] {
        scripts.profile.server.gpus = gpus.to_owned();
        scripts.profile.server.gres = gres.map(str::to_owned);
        scripts.profile.server.nodes = nodes;
        let script = scripts.capacity(&searches(Some(Place::Child), wanted)).unwrap();
        assert!(options(&script).contains(&option), "{option}: {script}");
    }
    scripts.profile.server = crate::cluster::ServerShare::default();
    let two = scripts.capacity(&searches(Some(Place::Group), Some(2))).unwrap();
    let at = |option: &str| options(&two).iter().position(|o| *o == option).unwrap();
    assert!(
        at("--cpus-per-task=4") < at("hetjob") && at("hetjob") < at("--gpus=2"),
        "{two}"
    );
    // Its server has a job of its own.
    let job = scripts.capacity(&searches(Some(Place::Job), Some(2))).unwrap();
    assert!(
        !options(&job).iter().any(|option| option.contains("gpu")),
        "{job}"
    );
}

#[test]
fn searches_have_the_time_of_their_file_and_their_keys_from_a_file() {
    let scripts = scripts();
    let mut context = searches(None, None);
    context.walltime = Some(Duration::from_mins(65));
    context.env_file = Some(PathBuf::from("/d/e f"));
    let script = scripts.capacity(&context).unwrap();
    assert!(options(&script).contains(&"--time=01:05:00"), "{script}");
    assert!(script.find(". '/d/e f' || exit 1").unwrap() < script.find("exec ").unwrap());
    context.searched = None;
    let last = scripts.capacity(&context).unwrap();
    assert!(options(&last).contains(&"--time=00:30:00"), "{last}");
    assert!(last.contains("judges what the other jobs have stored"), "{last}");
    assert!(is_bash(&last), "{last}");
    context.searched = Some("a\nb".to_owned());
    assert!(scripts.capacity(&context).is_err());
}
