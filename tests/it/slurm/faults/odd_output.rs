//! Slurm's commands as other versions and other sites have them: scripts in front of the real ones.

use serde_json::Value;

use crate::slurm::cluster::Cluster;
use crate::slurm::runs::Run;
use crate::support::stderr;

/// A state that nobody knows, columns that nobody asked for, and a greeting.
const SQUEUE: &str = r#"
echo "$LC_ALL" >>locales
all=$("$real" "$@") || exit
echo "Welcome | to 3 = three clusters"
printf '%s\n' "$all" | sed -e 's/|RUNNING|/|WARPED|/' -e '/./s/$/|gres=gpu:4 | and more/'"#;

const SBATCH: &str = r#"
echo "7 jobs = 3 % of your | quota"
"$real" "$@" || exit
echo
echo "Have a nice day"
echo "warning: a site's own" >&2"#;

#[test]
fn odd_output_is_read_all_the_same() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "");
    let path = run.wrap("squeue", SQUEUE);
    run.wrap("sbatch", SBATCH);
    let mst = |run: &Run<'_>, verb: &str| {
        let mut command = run.mst(verb);
        command
            .env("PATH", &path)
            .env("LC_ALL", "de_DE.UTF-8")
            .env("LANG", "de_DE.UTF-8")
            .env("TZ", "XYZ-13:45");
        command
    };
    for name in ["a | b = c", "mst-", "x|y=z %j", "mst-0a0a0a0a-1 = 2"] {
        let other = cluster.submit(&[&format!("--job-name={name}")], "sleep 600");
        cluster.await_state(&other, &["RUNNING"]);
    }
    run.hold();
    let output = mst(&run, "submit").output().unwrap();
    let id = run.was_submitted(&output);
    run.await_trial();
    let status = |run: &Run<'_>| -> Value {
        let output = mst(run, "status").arg(&run.name).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        all[0].clone()
    };
    let shown = status(&run);
    assert_eq!(shown["state"], "running", "{shown}");
    let jobs = shown["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "{shown}");
    assert_eq!(
        (&jobs[0]["id"], &jobs[0]["state"]),
        (&id.into(), &"WARPED".into()),
        "{shown}"
    );
    // What is alive is not submitted a second time.
    let output = mst(&run, "resume").arg(&run.name).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("is warped"), "{}", stderr(&output));
    run.let_go();
    run.ends_well();
    assert_eq!(status(&run)["state"], "done");
    // Of this program's own calls in the job, too.
    let locales = std::fs::read_to_string(run.space.path().join("locales")).unwrap();
    assert!(
        locales.lines().count() > 3 && locales.lines().all(|locale| locale == "C"),
        "{locales}"
    );
    // Others' jobs are theirs.
    assert_eq!(
        cluster
            .jobs()
            .iter()
            .filter(|(_, state, _)| state == "RUNNING")
            .count(),
        4
    );
}

#[test]
fn a_cancel_under_odd_output_ends_our_job_alone() {
    let Some(cluster) = Cluster::start() else { return };
    let other = cluster.submit(&["--job-name=a | b = c"], "sleep 600");
    cluster.await_state(&other, &["RUNNING"]);
    let mut run = Run::prepare(&cluster, "");
    let path = run.wrap("squeue", SQUEUE);
    run.hold();
    let output = run.mst("submit").env("PATH", &path).output().unwrap();
    let id = run.was_submitted(&output);
    run.await_trial();
    let output = run
        .mst("cancel")
        .arg(&run.name)
        .env("PATH", &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    run.await_state("cancelled");
    cluster.await_state(&id, &["CANCELLED", "FAILED", "COMPLETED"]);
    assert_eq!(cluster.state(&other), "RUNNING");
    run.is_gone();
}
