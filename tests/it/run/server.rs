//! A model server that belongs to the run: it lives and dies, and none of that is taken for the service's answer.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{Server, Workspace, read_json, stderr, table, wait_for, walk};

const MST: &str = env!("CARGO_BIN_EXE_mst");

/// A scripted search in which `mst serve` stands for the model server.
fn with_server(extra: &str) -> Workspace {
    with_command(&format!("{MST} serve --profile demo --port {{port}}"), extra)
}

fn with_command(command: &str, extra: &str) -> Workspace {
    Workspace::scripted(&format!(
        "SERVER_COMMAND={command}\nTARGET_LABEL=the-same\nITERATION_COOLDOWN_SECONDS=0\nRETRIES=2\n{extra}"
    ))
}

/// A script of its own as the model server; `{MST}` stands for this program.
fn with_script(script: &str, extra: &str) -> Workspace {
    let space = Workspace::scripted("");
    let path = space.path().join("server.sh");
    std::fs::write(&path, script.replace("{MST}", MST)).unwrap();
    let env = std::fs::read_to_string(space.path().join(".env")).unwrap();
    let more = format!(
        "SERVER_COMMAND=sh {} {{port}} {{folder}}\nTARGET_LABEL=the-same\nITERATION_COOLDOWN_SECONDS=0\nRETRIES=2\n{extra}\n",
        path.display()
    );
    std::fs::write(space.path().join(".env"), env + &more).unwrap();
    space
}

/// What `server.json` says, once there is one.
fn status(space: &Workspace) -> Option<Value> {
    let file = walk(&space.results().join(".runs"), "server.json").pop()?;
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn server_pid(space: &Workspace) -> Option<i32> {
    status(space)?["pid"].as_i64().map(|pid| pid as i32)
}

fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

fn is_gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |s| s.contains(") Z "))
}

/// A file of the driver's seat.
fn seat(space: &Workspace, name: &str) -> PathBuf {
    walk(&space.results().join(".runs"), name)
        .pop()
        .unwrap_or_else(|| panic!("no {name}"))
}

fn start(space: &Workspace, sleep: &str) -> Child {
    space
        .run(&["--format", "json"])
        .env("SCRIPTED_SLEEP", sleep)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a trial runs against a server that lives, and returns the server's process.
fn in_mid_trial(space: &Workspace) -> i32 {
    wait_for(|| !walk(&space.results().join(".staging"), "process.json").is_empty());
    server_pid(space).unwrap()
}

/// The answer of the same search without any trouble.
fn expected() -> String {
    let space = with_server("");
    let (output, _) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    space.capacity("8_8")
}

#[test]
fn a_server_of_the_run_gives_the_answer_of_one_that_was_there() {
    let server = Server::start(&["--port", "0"], None);
    let elsewhere = Workspace::scripted(&format!(
        "URL={}\nTARGET_LABEL=the-same\nITERATION_COOLDOWN_SECONDS=0",
        server.url
    ));
    let (output, _) = elsewhere.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let space = with_server("");
    let (output, _) = space.answer(&[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(space.capacity("8_8"), elsewhere.capacity("8_8"));

    // Its end is clean, and told.
    let ended = status(&space).unwrap();
    assert_eq!(
        (&ended["state"], &ended["exit"]["code"]),
        (&"ended".into(), &0.into()),
        "{ended}"
    );
    assert!(is_gone(server_pid(&space).unwrap()));
    let strays = super::processes(&space.path().display().to_string());
    assert!(strays.is_empty(), "{strays:?}");
    let log = std::fs::read_to_string(seat(&space, "server-1.log")).unwrap();
    assert!(log.contains("model simulated"), "{log}");

    // Trials know where it ran, and are found again although its port is another one.
    let trial = space.trials("8_8").into_values().flatten().next().unwrap();
    let manifest = read_json(&trial.join("trial.json"));
    let port = &ended["port"];
    assert_eq!(manifest["url"], format!("http://127.0.0.1:{port}"));
    assert_eq!(manifest["server"]["host"], ended["machine"]);
    let (_, row) = table(&trial.join("results.csv"));
    assert_eq!(row.len(), 1);
    let (_, again) = space.answer(&[]);
    assert_eq!(again[0]["trials"], again[0]["trials_reused"]);
}

#[test]
fn stored_trials_are_known_by_the_command_where_there_is_no_label() {
    let space = Workspace::scripted(&format!(
        "SERVER_COMMAND={MST} serve --profile demo --port {{port}}\nITERATION_COOLDOWN_SECONDS=0\nITERATION_HARD_LIMIT=2"
    ));
    space.answer(&[]);
    let trial = space.trials("8_8").into_values().flatten().next().unwrap();
    let label = &read_json(&trial.join("trial.json"))["spec"]["target"]["label"];
    assert_eq!(label, &format!("{MST} serve --profile demo --port {{port}}"));
    let (output, again) = space.answer(&[]);
    assert_eq!(again[0]["trials_reused"], 2, "{}", stderr(&output));
}

#[test]
fn one_server_serves_all_pairs() {
    let space = with_server("TOKENS_LIST=8:8,16:8,32:8\nITERATION_HARD_LIMIT=2");
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer.as_array().unwrap().len(), 3, "{}", stderr(&output));
    assert_eq!(walk(&space.results().join(".runs"), "server-1.log").len(), 1);
    assert!(walk(&space.results().join(".runs"), "server-2.log").is_empty());
}

#[test]
fn a_server_that_ends_at_once_is_told_at_once() {
    let space = with_script("echo 'no such model: llama-9000' >&2; exit 3\n", "");
    let before = Instant::now();
    let output = space.run(&[]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    for words in ["ended with status 3", "no such model: llama-9000", "server-1.log"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(before.elapsed().as_secs() < 60, "no limit had to pass");
    assert!(!space.results().join("8_8").join("capacity.json").exists());

    let space = with_command("no-such-program-here {port}", "");
    let said = stderr(&space.run(&[]).output().unwrap());
    assert!(said.contains("`no-such-program-here`"), "{said}");
}

#[test]
fn a_server_that_is_killed_in_mid_trial_is_started_again_and_the_answer_is_right() {
    let space = with_server("");
    let child = start(&space, "1");
    let first = in_mid_trial(&space);
    signal(first, nix::sys::signal::Signal::SIGKILL);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in ["was ended by signal 9 (SIGKILL)", "started again (1 of 2)"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_ne!(server_pid(&space), Some(first));
    assert_eq!(space.capacity("8_8"), expected());
    for (id, folders) in space.trials("8_8") {
        assert_eq!(folders.len(), 1, "trial {id} was stored more than once");
    }
}

#[test]
fn a_server_that_is_stopped_in_mid_trial_hangs_and_is_started_again() {
    let space = with_server("");
    let child = start(&space, "1");
    let first = in_mid_trial(&space);
    signal(first, nix::sys::signal::Signal::SIGSTOP);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("its process is stopped") && said.contains("started again"),
        "{said}"
    );
    assert!(is_gone(first));
    assert_eq!(space.capacity("8_8"), expected());
}

#[test]
fn a_trial_in_which_the_server_stood_still_is_repeated() {
    let space = with_server("");
    let child = start(&space, "4");
    let pid = in_mid_trial(&space);
    // Too short for a hang: the wrapper sees it, the driver may or may not.
    signal(pid, nix::sys::signal::Signal::SIGSTOP);
    wait_for(|| status(&space).is_some_and(|s| s["stood_still"] == 1));
    signal(pid, nix::sys::signal::Signal::SIGCONT);
    wait_for(|| status(&space).is_some_and(|s| s["stopped"] == false));
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("stood still") || said.contains("is stopped"),
        "{said}"
    );
    assert_eq!(space.capacity("8_8"), expected());
}

#[test]
fn a_server_whose_process_lives_but_does_not_answer_hangs() {
    // The leader lives on while the one that answers is stopped.
    let space = with_script(
        "{MST} serve --profile demo --port $1 & echo $! >$2/worker; wait\n",
        "",
    );
    let child = start(&space, "1");
    in_mid_trial(&space);
    let worker = std::fs::read_to_string(seat(&space, "worker")).unwrap();
    signal(worker.trim().parse().unwrap(), nix::sys::signal::Signal::SIGSTOP);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("the server hangs") && said.contains("started again"),
        "{said}"
    );
    assert!(
        is_gone(worker.trim().parse().unwrap()),
        "also what is not the leader is ended"
    );
    assert_eq!(space.capacity("8_8"), expected());
}

#[test]
fn restarts_have_an_end() {
    let space = with_server("SERVER_RESTARTS=0\nRETRIES=1");
    let child = start(&space, "1");
    signal(in_mid_trial(&space), nix::sys::signal::Signal::SIGKILL);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(
        said.contains("not started again") && said.contains("SERVER_RESTARTS=0"),
        "{said}"
    );
    assert!(
        walk(&space.results(), "verdict.json").is_empty(),
        "nothing was judged"
    );
}

#[test]
fn a_server_that_is_never_healthy_has_its_time_while_it_says_something() {
    let silent = with_script("exec sleep 600\n", "SERVER_SILENCE_LIMIT=4s");
    let chatty = with_script(
        "while :; do echo loading; sleep 0.1; done\n",
        "SERVER_SILENCE_LIMIT=6s\nSERVER_START_LIMIT=12s",
    );
    for (space, limit) in [(silent, "SERVER_SILENCE_LIMIT"), (chatty, "SERVER_START_LIMIT")] {
        let output = space.run(&[]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(12), "{said}");
        assert!(
            said.contains(limit) && said.contains("not healthy"),
            "{limit}: {said}"
        );
        assert!(is_gone(server_pid(&space).unwrap()));
    }
}

#[test]
fn a_slow_start_is_waited_for() {
    let space = with_server("ITERATION_HARD_LIMIT=1");
    let env = std::fs::read_to_string(space.path().join(".env")).unwrap();
    let slow = env.replace("--profile demo", "--profile demo --startup 3s");
    std::fs::write(space.path().join(".env"), slow).unwrap();
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer[0]["trials"], 1, "{}", stderr(&output));
}

#[test]
fn a_port_that_is_taken_is_told_and_one_that_was_lost_is_replaced() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let space = with_server(&format!("SERVER_PORT={port}"));
    let output = space.run(&[]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(
        said.contains(&format!("port {port}")) && said.contains("SERVER_PORT=0"),
        "{said}"
    );

    let space = with_script(
        "if [ ! -e $2/once ]; then : >$2/once; echo 'OSError: [Errno 98] Address already in use'; exit 1; fi\n\
         exec {MST} serve --profile demo --port $1\n",
        "SERVER_RESTARTS=0\nITERATION_HARD_LIMIT=1",
    );
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer[0]["trials"], 1, "{}", stderr(&output));
    let log = std::fs::read_to_string(seat(&space, "server-1.log")).unwrap();
    assert!(
        log.contains("Errno 98") && log.contains("model simulated"),
        "{log}"
    );
}

#[test]
fn a_command_without_a_port_is_refused() {
    let space = with_command(&format!("{MST} serve"), "");
    let output = space.run(&[]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("{port}") && said.contains("SERVER_PORT"), "{said}");
}

#[test]
fn the_reset_is_done_before_every_trial() {
    let space = with_server("");
    let script = space.path().join("reset.sh");
    std::fs::write(&script, format!("echo $1 >>{}/resets\n", space.path().display())).unwrap();
    let env = std::fs::read_to_string(space.path().join(".env")).unwrap();
    let more = format!("SERVER_RESET=sh {} {{url}}\n", script.display());
    std::fs::write(space.path().join(".env"), env + &more).unwrap();
    let (output, answer) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let resets = std::fs::read_to_string(space.path().join("resets")).unwrap();
    assert_eq!(
        resets.lines().count() as u64,
        answer[0]["trials"].as_u64().unwrap()
    );
    let url = format!("http://127.0.0.1:{}", status(&space).unwrap()["port"]);
    assert!(resets.lines().all(|line| line == url), "{resets}");

    let space = with_server("RETRIES=0\nSERVER_RESET=/reset_prefix_cache");
    let output = space.run(&[]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(
        said.contains("/reset_prefix_cache answered 404") && said.contains("SERVER_RESET"),
        "{said}"
    );
}

#[test]
fn ctrl_c_ends_the_server_also_while_it_starts() {
    let space = with_script("echo loading; exec sleep 600\n", "");
    let child = start(&space, "1");
    wait_for(|| server_pid(&space).is_some());
    signal(child.id() as i32, nix::sys::signal::Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(is_gone(server_pid(&space).unwrap()));
}

#[test]
fn a_server_does_not_outlive_its_driver_and_its_wrapper() {
    for wrapper_too in [false, true] {
        let space = with_server("");
        let mut child = start(&space, "30");
        let server = in_mid_trial(&space);
        let here = space.path().display().to_string();
        let wrapper = wrapper(&here);
        if wrapper_too {
            signal(wrapper, nix::sys::signal::Signal::SIGKILL);
        }
        super::kill(&mut child);
        wait_for(|| is_gone(server) && is_gone(wrapper));
        if !wrapper_too {
            assert_eq!(status(&space).unwrap()["state"], "ended");
        }
    }
}

/// The process of the wrapper below a folder.
fn wrapper(here: &str) -> i32 {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        // Processes may end while we look.
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if line.contains(" host ") && line.contains(here) && line.contains("--token") {
            found.push(entry.file_name().to_string_lossy().parse().unwrap());
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

const KEY: &str = "sk-server-0123456789-not-to-be-found";

#[test]
fn the_key_reaches_the_server_and_no_file() {
    let command = format!("{MST} serve --profile demo --port {{port}} --api-key-env MST_API_KEY");
    let space = with_command(&command, &format!("API_KEY={KEY}\nITERATION_HARD_LIMIT=2"));
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer[0]["trials"], 2, "{}", stderr(&output));
    let mut files = 0;
    for path in everything(&space.results()) {
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes());
        assert!(!found, "the key is in {}", path.display());
        files += 1;
    }
    assert!(files > 10);

    let command = format!("{MST} serve --port {{port}} --model {KEY}");
    let space = with_command(&command, &format!("API_KEY={KEY}"));
    let output = space.run(&[]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("MST_API_KEY") && !said.contains(KEY), "{said}");
    assert!(everything(&space.results()).iter().all(|p| {
        let bytes = std::fs::read(p).unwrap();
        !bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes())
    }));
}

fn everything(root: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}
