//! `mst mix`.

use std::path::Path;
use std::process::Output;

use crate::support::mst;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    let folder = path.parent().expect("a file lies in a folder");
    std::fs::create_dir_all(folder).expect("the folder is ours");
    std::fs::write(path, text).expect("the folder is ours");
}

fn mix(folder: &Path, arguments: &[&str]) -> Output {
    mst()
        .current_dir(folder)
        .arg("mix")
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn shares_follow_from_throughputs_and_can_be_put_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = mix(
        folder.path(),
        &["--mst", "1-100:1-100=1200", "--mst", "300-600:100-300=5/s"],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            "WORKLOAD_MIXES=[(1-100:1-100,0.8),(300-600:100-300,0.2)]",
            "REQ_MIN_START=750"
        ]
    );
    write(folder.path(), "m.env", &text);
    let output = mst()
        .current_dir(folder.path())
        .args(["config", "--env-file", "m.env"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("  mix_1-100_1-100@0.8+300-600_100-300@0.2 from 750 req/min"),
        "{shown}"
    );
}

#[test]
fn throughputs_are_read_from_results_of_every_generation() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let capacity =
        |pair: &str, rate: &str| format!(r#"{{"schema":1,"pair":"{pair}","answer":{{"rate":{rate}}}}}"#);
    let latest = "MIN_INPUT_TOKENS,MAX_INPUT_TOKENS,MIN_OUTPUT_TOKENS,MAX_OUTPUT_TOKENS,REQ_MIN,EVALUATION,FINISHED,LARGEST_TRUE\r\n";
    // Ours: capacity.json beats rows beside it.
    write(root, "8_8/capacity.json", &capacity("8_8", "800.0"));
    write(
        root,
        "8_8/t1/results.csv",
        &format!("{latest}8,8,8,8,9999,True,TRUE,9999\r\n"),
    );
    // No answer, and a mix: neither counts.
    write(root, "9_9/capacity.json", &capacity("9_9", "null"));
    write(root, "mix_8_8@1/capacity.json", &capacity("mix_8_8@1", "5.0"));
    // The latest form: a finished TRUE row, then the bound of a finished FALSE row.
    write(
        root,
        "16-16_16-16/t1/results.csv",
        &format!("{latest}16,16,16,16,500,TRUE,FALSE,500\r\n"),
    );
    write(
        root,
        "16-16_16-16/t2/results.csv",
        &format!("{latest}16,16,16,16,480,TRUE,TRUE,470\r\n"),
    );
    write(
        root,
        "17_17/t1/results.csv",
        &format!("{latest}17,17,17,17,512,FALSE,TRUE,300\r\n"),
    );
    write(
        root,
        "18_18/t1/results.csv",
        &format!("{latest}18,18,18,18,200,TRUE,,\r\n"),
    );
    write(
        root,
        "18_18/t2/results.csv",
        &format!("{latest}18,18,18,18,300,FALSE,,\r\n"),
    );
    // The form of the first README.
    let doc = "MODEL_USED,INPUT_TOKENS,OUTPUT_TOKENS,REQ_MIN,EVALUATION\n";
    write(root, "19_19/t1/results.csv", &format!("{doc}m,19,19,64,True\n"));
    write(root, "19_19/t2/results.csv", &format!("{doc}m,19,19,96.0,True\n"));
    write(root, "20_20/t1/results.csv", "not,a\nresults");
    write(root, "broken/capacity.json", "{");
    let output = mix(root, &[".", "--format", "json"]);
    let value = json(&output);
    let found: Vec<(String, f64)> = value["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (
                p["profile"].as_str().unwrap().to_owned(),
                p["mst_per_minute"].as_f64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("8:8", 800.0),
        ("16:16", 480.0),
        ("17:17", 300.0),
        ("18:18", 200.0),
        ("19:19", 96.0),
    ];
    assert_eq!(found, expected.map(|(p, r)| (p.to_owned(), r)));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains("broken/capacity.json") && stderr.contains("passed over"),
        "{stderr}"
    );
}

#[test]
fn capacity_shares_choose_and_weigh_profiles() {
    let folder = tempfile::tempdir().unwrap();
    let known = [
        "--mst", "1:1=1000", "--mst", "2:2=500", "--mst", "3:3=100", "--format", "json",
    ];
    let shares = ["--capacity-share", "1:1=1", "--capacity-share", "2:2=3"];
    let value = json(&mix(folder.path(), &[&known[..], &shares[..]].concat()));
    // 1/4 of the capacity at 1000 and 3/4 at 500.
    assert_eq!(value["workload_mixes"], "[(1:1,0.4),(2:2,0.6)]");
    assert!((value["predicted_per_minute"].as_f64().unwrap() - 625.0).abs() < 1e-9);
    assert_eq!(value["profiles"][1]["cost"], 2.0);
    for (arguments, code, fragment) in [
        (&["nowhere"][..], 3, "there is no such file or folder"),
        (&[][..], 3, "no throughput is known"),
        (
            &["--mst", "1:1=5", "--capacity-share", "9:9=1"][..],
            3,
            "the throughput of 9:9 is not known",
        ),
        (&["--mst", "1:1=0"][..], 2, "not a request rate"),
        (&["--mst", "1=5"][..], 2, "there is no `:`"),
    ] {
        let output = mix(folder.path(), arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(fragment), "{stderr}");
    }
}
