//! Faults that a run on Slurm survives. The table in `docs/slurm.md` is made from this list, and each row names its test.

mod controller;
mod files;
mod kills;
mod midway;
mod nodes;
mod odd_output;
mod preemption;
mod server;
mod starts;
mod submission;
mod waits;
mod walltime;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::Cluster;
use crate::support::{compare, stderr};

/// One fault.
struct Fault {
    number: u32,
    name: &'static str,
    injected: &'static str,
    required: &'static str,
    /// `module::function` below `slurm::`, or why there is none: in parentheses.
    test: &'static str,
}

const fn fault(
    number: u32,
    name: &'static str,
    injected: &'static str,
    required: &'static str,
    test: &'static str,
) -> Fault {
    Fault {
        number,
        name,
        injected,
        required,
        test,
    }
}

#[rustfmt::skip]
const FAULTS: [Fault; 30] = [
    fault(1, "the controller is down at submit",
        "`ctld-stop`, submit, `ctld-start`",
        "a clear message; tried again with growing pauses; submitted once", "faults::submission::a_controller_that_is_down_is_waited_for"),
    fault(2, "a submit times out but was accepted",
        "`ctld-pause`, submit, `ctld-resume`",
        "found by its tag; exactly one job", "faults::submission::a_job_that_was_taken_in_silence_is_found_by_its_name"),
    fault(3, "an acknowledged job is lost and its id given to another",
        "submit, `ctld-kill` before the state is saved, `ctld-start`, another submit",
        "the other job is not taken for ours; submitted again", "faults::submission::an_id_that_was_given_to_another_job_is_not_ours"),
    fault(4, "a job runs twice",
        "the same script submitted again under the same name while the first one runs",
        "the second driver sees the lease and leaves; results are not mixed", "faults::nodes::a_job_that_runs_twice_has_one_driver"),
    fault(5, "the controller restarts in mid-run",
        "`ctld-stop`, `ctld-start`",
        "the driver goes on", "faults::controller::a_run_goes_on_while_the_controller_restarts"),
    fault(6, "a job ends while the controller is away",
        "`ctld-kill`, the end, `ctld-start`",
        "our files decide", "faults::controller::a_run_that_ends_while_the_controller_is_away_is_done"),
    fault(7, "the controller no longer knows the job",
        "`MIN_JOB_AGE=5`, a wait",
        "status from our files", "faults::controller::a_run_whose_job_is_forgotten_tells_from_its_files"),
    fault(8, "no accounting, or its daemon is away",
        "none; `ACCOUNTING=1` and `dbd-kill`",
        "works with squeue and our files", "faults::controller::a_run_needs_no_accounting_daemon"),
    fault(9, "a node dies with its tasks",
        "`node-fail` under a job with `--no-requeue`",
        "NODE_FAIL; `mst resume` goes on", "faults::nodes::a_run_whose_node_died_can_be_resumed"),
    fault(10, "a node is lost and the driver on it goes on",
        "`node-kill`, the node set down, the job requeued",
        "fenced: the old driver stops at its next look at the lease", "faults::nodes::a_driver_that_lives_on_a_lost_node_is_fenced"),
    fault(11, "preemption with requeue",
        "an urgent job on the same node",
        "the same job resumes; nothing is measured twice", "faults::preemption::a_preempted_job_goes_on_when_it_is_back"),
    fault(12, "preemption without requeue",
        "the same, the victim with `--no-requeue`",
        "PREEMPTED; `mst resume` is offered", "faults::preemption::a_preempted_job_that_may_not_come_back_can_be_resumed"),
    fault(13, "the time limit comes",
        "`short` (1 minute), or `scontrol update TimeLimit=1`",
        "the trial that does not fit is not begun; requeued or followed by a successor", "faults::walltime::a_job_goes_back_into_the_queue_before_its_limit"),
    fault(14, "the time limit is shortened while running",
        "`scontrol update TimeLimit`",
        "the deadline is read again", "faults::walltime::a_limit_that_is_shortened_is_heeded"),
    fault(15, "the driver is killed",
        "`scancel -s KILL --full`, or SIGKILL to its process",
        "resume repeats at most one trial", "faults::kills::a_run_whose_driver_was_killed_goes_on"),
    fault(16, "the user cancels",
        "`scancel`",
        "CANCELLED; the state can be read; the server is gone", "faults::kills::a_job_that_the_user_cancels_ends_with_its_server"),
    fault(17, "the server runs out of memory",
        "`CGROUP=1`, a small `--mem`, a large allocation",
        "told apart from load that cannot be sustained",
        "faults::server::a_server_that_the_kernel_ends_is_told_from_load_and_replaced"),
    fault(18, "the server exits, hangs, or never becomes healthy",
        "SIGKILL, SIGSTOP, a server that sleeps",
        "fails soon; the trial is void, not unsustainable",
        "faults::server::a_server_that_is_killed_or_stopped_in_mid_trial_is_replaced"),
    fault(19, "the job is suspended",
        "`scontrol suspend`, `scontrol resume`",
        "the trial is thrown away and measured anew, however short it was", "faults::preemption::a_trial_during_which_the_job_was_suspended_is_measured_anew"),
    fault(20, "the job is held, or its launch failed",
        "`scontrol hold`, `scontrol requeuehold`",
        "status says why, and the remedy",
        "faults::waits::a_held_job_is_told_with_the_remedy"),
    fault(21, "the job waits for ever",
        "`-p drained`; more time or nodes than the partition has",
        "`--check` warns; status explains",
        "faults::waits::a_job_that_waits_for_ever_is_warned_of_and_explained"),
    fault(22, "the submit is rejected",
        "a wrong partition, account, resource; a limit of the QOS",
        "Slurm's own line is shown; not tried again", "faults::submission::a_refusal_is_told_in_slurms_words_and_not_repeated"),
    fault(23, "munge is down",
        "`munge-kill`, submit, `munge-start`",
        "as 1", "faults::submission::munge_that_is_down_is_waited_for"),
    fault(24, "a dependency on a job that is known no more counts as met",
        "`MIN_JOB_AGE=5`, a successor of a failed job",
        "the driver that starts refuses by our files", "faults::starts::a_driver_that_a_forgotten_job_lets_start_refuses"),
    fault(25, "submitted from inside a job",
        "`mst submit` in a job with `-N2 --mem=500 --gpus-per-node=2`",
        "no variable of the outer job reaches the inner one", "faults::starts::a_run_can_be_submitted_from_inside_a_job"),
    fault(26, "one task of an array fails",
        "a throttled array, one pair that cannot work",
        "the others are not touched; `mst resume` repeats only that pair",
        "faults::waits::one_failed_task_of_an_array_is_resumed_alone"),
    fault(27, "the shared file system shows files late",
        "a file appears seconds after it was written",
        "a time of grace",
        "faults::files::a_drivers_end_that_is_seen_late_is_waited_for"),
    fault(28, "the disk is full, the folder gone or read-only",
        "a small tmpfs as results folder; a folder removed in mid-run",
        "a clear error; nothing half written",
        "faults::files::a_full_disk_is_told_and_leaves_nothing_half_written"),
    fault(29, "Slurm is slow",
        "`ctld-pause` and `ctld-resume` by turns",
        "a timeout is no answer, not a state", "faults::controller::a_slow_controller_is_no_answer"),
    fault(30, "odd output: a new state, further columns, spaces and `|` in names, another locale",
        "a wrapper before squeue in PATH",
        "unknown is alive; names come last; `LC_ALL=C`", "faults::odd_output::odd_output_is_read_all_the_same"),
];

/// What a controller had saved at some moment: one that crashes may have saved nothing since.
struct Saved {
    state: PathBuf,
    copy: PathBuf,
}

impl Saved {
    /// Saves all, by an orderly end and a new start.
    fn now(cluster: &Cluster) -> Self {
        let state = cluster.folder().join("state");
        let copy = cluster.folder().join("saved");
        cluster.slurm_cluster("ctld-stop", &[]);
        Self::copy(&state, &copy);
        cluster.slurm_cluster("ctld-start", &[]);
        Self { state, copy }
    }

    /// Makes it the state that the controller starts with; it must not run.
    fn restore(&self) {
        std::fs::remove_dir_all(&self.state).unwrap();
        Self::copy(&self.copy, &self.state);
    }

    fn copy(from: &Path, to: &Path) {
        let output = Command::new("cp").arg("-a").args([from, to]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

fn table() -> String {
    let mut rows = String::from("| | fault | injected by | required | test |\n|---|---|---|---|---|\n");
    for fault in FAULTS {
        let shown = if fault.test.contains("::") {
            format!("`{}`", fault.test)
        } else {
            fault.test.to_owned()
        };
        // A bar in a cell would end it.
        let cells = [fault.name, fault.injected, fault.required, &shown].map(|cell| cell.replace('|', "\\|"));
        writeln!(rows, "| {} | {} |", fault.number, cells.join(" | ")).unwrap();
    }
    rows
}

#[test]
fn the_documented_table_is_this_list() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/slurm.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- faults -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of faults -->").unwrap();
    compare(
        &page,
        &format!(
            "{before}<!-- faults -->\n{}<!-- end of faults -->{after}",
            table()
        ),
    );
}

#[test]
fn every_fault_has_a_test_or_a_reason() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/slurm");
    for (index, fault) in FAULTS.iter().enumerate() {
        assert_eq!(fault.number as usize, index + 1);
        if let Some((module, function)) = fault.test.rsplit_once("::") {
            let path = sources.join(module.replace("::", "/"));
            let found = [path.with_extension("rs"), path.join("mod.rs")]
                .iter()
                .any(|file| {
                    std::fs::read_to_string(file)
                        .is_ok_and(|text| text.contains(&format!("#[test]\nfn {function}()")))
                });
            assert!(found, "fault {}: there is no test {}", fault.number, fault.test);
        } else {
            let reason = fault.test.starts_with('(') && fault.test.ends_with(')') && fault.test.len() > 20;
            assert!(
                reason,
                "fault {}: neither module::function nor (a reason)",
                fault.number
            );
        }
    }
}
