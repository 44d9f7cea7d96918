//! A file system that shows files late, is full, read-only, or loses a folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::cluster::{Cluster, LIMIT, wait_for};
use super::super::runs::Run;
use crate::support::skipped;
use crate::support::stderr;

/// Moves a file away the moment it is there, and back 20 seconds later.
fn late(file: &str) -> String {
    format!(
        "mv {file} {file}.unseen && (setsid sh -c 'sleep 20; mv \"$1\".unseen \"$1\"' late {file} >/dev/null 2>&1 &)\n"
    )
}

/// Writes the templates of the job scripts, and changes one.
fn change_template(run: &Run<'_>, name: &str, from: &str, to: &str) {
    let output = run
        .cluster
        .mst(run.space.path())
        .args(["submit", "--write-templates", "slurm"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let file = run.space.path().join("slurm").join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{text}");
    std::fs::write(&file, text.replace(from, to)).unwrap();
}

fn submitted(run: &mut Run<'_>, arguments: &[&str]) -> String {
    let output = run.mst("submit").args(arguments).output().unwrap();
    run.was_submitted(&output)
}

#[test]
fn a_drivers_end_that_is_seen_late_is_waited_for() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "");
    let line = "exec {{ program | quote }} drive {{ run_dir | quote }}";
    let plain = line.replace("exec ", "");
    change_template(
        &run,
        "drive.slurm.j2",
        &format!("{line}{{% if tasks %}} --task \"$SLURM_ARRAY_TASK_ID\"{{% endif %}} \"$@\""),
        &format!(
            "{plain}\nended={{{{ run_dir | quote }}}}/main/ended.json\n{}exit 0",
            late("\"$ended\"")
        ),
    );
    let id = submitted(&mut run, &[]);
    cluster.await_state(&id, &["COMPLETED"]);
    let ended = run.folder().join("main/ended.json");
    let status = run.status();
    assert!(!ended.exists());
    assert_eq!(status["state"], "running", "{status}");
    assert!(
        status["why"].as_str().unwrap().contains("has just ended"),
        "{status}"
    );
    // Neither does a second driver start meanwhile.
    let output = cluster
        .mst(run.space.path())
        .args(["resume", &run.name])
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("waiting for"), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("every pair has its answer"), "{told}");
    assert_eq!(run.jobs().len(), 1, "{:?}", run.jobs());
    run.ends_well();
}

#[test]
fn a_trials_end_that_is_seen_late_is_waited_for() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "EXECUTOR=sbatch");
    let done = "{{ done_file | quote }}.part && mv -f {{ done_file | quote }}.part {{ done_file | quote }}\n";
    let mark = run.space.path().join("was-late");
    let first = format!(
        "if mkdir {}; then\n{}fi\n",
        mark.display(),
        late("{{ done_file | quote }}")
    );
    change_template(&run, "trial.slurm.j2", done, &format!("{done}{first}"));
    submitted(&mut run, &[]);
    run.ends_well();
    assert!(mark.exists());
}

/// A small file system at the results root of a run, as root only.
struct Small(PathBuf);

impl Small {
    fn below(run: &Run<'_>) -> Option<Self> {
        let root = run.space.results();
        std::fs::create_dir(&root).unwrap();
        if !nix::unistd::geteuid().is_root() || !mounted(&["-t", "tmpfs", "-o", "size=48m", "tmpfs"], &root) {
            skipped("only root can mount a small file system");
            return None;
        }
        Some(Self(root))
    }

    fn again(&self, how: &str) {
        assert!(mounted(&["-o", &format!("remount,{how}")], &self.0), "{how}");
    }

    /// Takes all the room there is.
    fn fill(&self) -> PathBuf {
        let file = self.0.join("filler");
        let mut filler = std::fs::File::create(&file).unwrap();
        while filler.write_all(&[7; 4096]).is_ok() {}
        file
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a driver may still be there when the test has failed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mounted(options: &[&str], at: &Path) -> bool {
    let output = Command::new("mount").args(options).arg(at).output().unwrap();
    if !output.status.success() {
        eprintln!("mount: {}", stderr(&output));
    }
    output.status.success()
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "RETRIES=0");
    let Some(disk) = Small::below(&run) else { return };
    run.hold();
    submitted(&mut run, &[]);
    run.await_trial();
    let filler = disk.fill();
    run.let_go();
    let status = run.await_state("failed");
    let why = status["why"].as_str().unwrap();
    assert!(why.contains("No space left"), "{status}");
    assert_eq!(run.trials(), 0);
    assert!(!run.space.results().join("8_8/capacity.json").exists());
    std::fs::remove_file(filler).unwrap();
    run.resume();
    run.ends_well();
}

#[test]
fn a_read_only_results_folder_is_told() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "");
    let Some(disk) = Small::below(&run) else { return };
    disk.again("ro");
    let output = run.mst("submit").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("RESULTS_DIR") && said.contains("cannot be written to"),
        "{said}"
    );
    assert!(cluster.jobs().is_empty());

    // It becomes so while the job waits.
    disk.again("rw");
    std::fs::create_dir(run.space.path().join("slurm")).unwrap();
    std::fs::write(run.space.path().join("slurm/cluster.yml"), "sbatch: [--hold]\n").unwrap();
    let id = submitted(&mut run, &[]);
    disk.again("ro");
    cluster.ask("scontrol", &["release", &id]);
    cluster.await_state(&id, &["FAILED"]);
    let status = run.await_state("lost");
    assert!(status["why"].as_str().unwrap().contains("FAILED"), "{status}");
    assert!(
        status["advice"][0].as_str().unwrap().contains("mst resume"),
        "{status}"
    );
    assert_eq!(run.trials(), 0);
    disk.again("rw");
    let second = run.resume();
    cluster.ask("scontrol", &["release", &second]);
    run.ends_well();
}

#[test]
fn a_run_whose_folder_is_gone_stops() {
    let Some(cluster) = Cluster::start() else { return };
    // The run's own: what is measured stays.
    let run = Run::submit_held(&cluster, "", &[]);
    let log = run.folder().join("logs");
    let log = std::fs::read_dir(log).unwrap().next().unwrap().unwrap().path();
    let log = std::fs::File::open(log).unwrap();
    let id = run.jobs()[0].0.clone();
    std::fs::remove_dir_all(run.folder()).unwrap();
    run.let_go();
    cluster.await_state(&id, &["FAILED"]);
    let said = std::io::read_to_string(log).unwrap();
    assert!(said.contains("folder") && said.contains("gone"), "{said}");
    assert!(!run.folder().exists(), "it was made anew");
    run.is_gone();

    // All results.
    let run = Run::submit_held(&cluster, "", &[]);
    let id = run.jobs()[0].0.clone();
    std::fs::remove_dir_all(run.space.results()).unwrap();
    run.let_go();
    cluster.await_state(&id, &["FAILED"]);
    wait_for("its processes are gone", LIMIT, || {
        crate::support::processes(run.space.path().to_str().unwrap()).is_empty()
    });
    let left: Vec<_> = walkdir::WalkDir::new(run.space.results())
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}
