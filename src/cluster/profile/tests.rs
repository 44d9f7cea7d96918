use super::*;

fn parse(text: &str) -> Result<Profile, String> {
    Profile::parse(Path::new("cluster.yml"), text).map_err(|error| error.to_string())
}

#[test]
fn the_example_says_the_defaults() {
    let example = include_str!("../../../slurm/cluster.example.yml");
    assert_eq!(parse(example), Ok(Profile::default()));
    // Every key stands in it, so that nothing is left to guess.
    let value: serde_json::Value = serde_saphyr::from_str(example).unwrap();
    let names = |value: &serde_json::Value| -> Vec<String> {
        let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let all = serde_json::to_value(Profile::default()).unwrap();
    assert_eq!(names(&value), names(&all));
    for section in ["driver", "server", "trial"] {
        assert_eq!(names(&value[section]), names(&all[section]), "{section}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(parse(""), Ok(Profile::default()));
    assert_eq!(parse("# nothing yet\n"), Ok(Profile::default()));
    let profile = parse("partition: gpu\nserver:\n  gpus: a100:2\n  mem: 64G\ntime: 12:00:00\n").unwrap();
    assert_eq!(profile.partition.as_deref(), Some("gpu"));
    assert_eq!(profile.server.gpus, "a100:2");
    assert_eq!(profile.server.cpus, 8);
    assert_eq!(profile.time, Some(Duration::from_hours(12)));
    assert_eq!(parse("server: {gpus: 2}").unwrap().server.gpus, "2");
    assert_eq!(parse("time:\n").unwrap().time, None);
    assert_eq!(
        parse("driver: {mem: 800}").unwrap().driver.mem,
        Some(Memory::megabytes(800))
    );
}

#[test]
fn a_profile_survives_being_frozen() {
    let text = "account: a b\nsetup: |\n  export A=1\n  ulimit -n 4096\nmodules: [cuda/12]\ncontainer: [apptainer, exec, 'x y.sif']\n\
                sbatch: [--mail-type=END]\ntime: 90m\ntrial: {time: 1-00:00:00, mem: 500M}\nrequeue: false\narray_throttle: 2\n";
    let profile = parse(text).unwrap();
    let frozen = serde_json::to_string_pretty(&profile).unwrap();
    assert_eq!(parse(&frozen), Ok(profile));
}

#[test]
fn mistakes_name_their_line_and_what_to_write() {
    for (text, fragments) in [
        (
            "account: a\npartiton: gpu\n",
            &["cluster.yml:2: ", "did you mean partition?", "known are", "qos"][..],
        ),
        ("server:\n  gpu: 2\n", &["cluster.yml:2: ", "did you mean gpus?"]),
        (
            "colour: red\n",
            &["cluster.yml:1: `colour`", "known are partition"],
        ),
        ("time: 60\n", &["cluster.yml:1: ", "write 60m or 60s"]),
        ("time: soon\n", &["cluster.yml:1: ", "not a time limit"]),
        (
            "driver:\n  cpus: 0\n",
            &["cluster.yml:2: driver.cpus", "at least 1"],
        ),
        ("driver: {cpus: many}\n", &["cluster.yml:1: "]),
        ("server:\n  mem: lots\n", &["cluster.yml:2: ", "`lots`", "32G"]),
        (
            "server: {gpus: many}\n",
            &["cluster.yml:1: server.gpus", "a100:2"],
        ),
        (
            "sbatch: [mail-type=END]\n",
            &["cluster.yml:1: sbatch", "--mail-type=END"],
        ),
        ("qos: |\n  a\n  b\n", &["cluster.yml:1: qos", "one line"]),
        ("requeue: maybe\n", &["cluster.yml:1: "]),
        ("a: [\n", &["cluster.yml:"]),
    ] {
        let error = parse(text).unwrap_err();
        for fragment in fragments {
            assert!(error.contains(fragment), "{text}: {error}");
        }
        assert!(!error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn a_share_is_given_another_number_of_gpus() {
    for (gpus, gres, nodes, wanted, becomes) in [
        ("1", None, 1, 4, ("4", None)),
        ("a100:2", None, 1, 4, ("a100:4", None)),
        ("a100:2", None, 2, 6, ("a100:3", None)),
        ("0", None, 1, 4, ("0", None)),
        ("a100:0", None, 1, 4, ("a100:0", None)),
        ("1", Some("gpu:2"), 1, 4, ("4", Some("gpu:4"))),
        ("1", Some("gpu:h100"), 1, 4, ("4", Some("gpu:h100:4"))),
        ("1", Some("gpu:2,shard:1"), 1, 4, ("4", Some("gpu:2,shard:1"))),
    ] {
        let share = ServerShare {
            gpus: gpus.to_owned(),
            gres: gres.map(str::to_owned),
            nodes,
            ..ServerShare::default()
        };
        let other = share.with_gpus(wanted);
        assert_eq!(
            (other.gpus.as_str(), other.gres.as_deref()),
            becomes,
            "{gpus} {gres:?}"
        );
    }
    let share = parse("server: {gpus: a100:2, nodes: 3}").unwrap().server;
    assert_eq!(share.gpus_in_all(), 6);
}
