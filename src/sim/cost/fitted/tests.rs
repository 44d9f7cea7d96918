use super::*;
use crate::sim::catalog::Catalog;

fn roofline() -> Roofline {
    let catalog = Catalog::built_in().unwrap();
    Roofline::new(
        catalog.model("llama-2-7b").unwrap(),
        catalog.gpu("a100").unwrap(),
        1,
        1,
    )
    .unwrap()
}

fn read(json: &str) -> Result<FittedProfile, String> {
    FittedProfile::read(Input::new("fitted_profile.json", json.as_bytes()), roofline())
        .map_err(|e| e.to_string())
}

fn prefill(n: u32, b: u32, ms: f64) -> String {
    format!(
        r#"{{"type": "prefill", "seq_len": {n}, "batch_size": {b}, "mean_ms": 9e9, "median_ms": {ms}, "std_ms": 1}}"#
    )
}

fn decode(kv: u32, new: u32, b: u32, ms: f64) -> String {
    format!(
        r#"{{"type": "decode", "kv_cache": {kv}, "new_tokens": {new}, "batch_size": {b}, "mean_ms": {ms}, "std_ms": 1}}"#
    )
}

fn profile() -> FittedProfile {
    let entries = [
        prefill(128, 1, 20.0),
        prefill(512, 1, 45.0),
        prefill(512, 4, 170.0),
        decode(128, 1, 1, 9.0),
        decode(512, 1, 1, 9.5),
        decode(128, 1, 8, 10.0),
        decode(512, 1, 8, 12.0),
        decode(512, 8, 8, 90.0),
    ];
    read(&format!("[{}]", entries.join(","))).unwrap()
}

fn shape(decodes: &[u32], prefills: &[u32]) -> BatchShape {
    let mut shape = BatchShape::default();
    for kv in decodes {
        shape.add_decode(*kv);
    }
    for n in prefills {
        shape.add_prefill(0, *n, true);
    }
    shape
}

fn ms(shape: &BatchShape) -> (f64, bool) {
    let time = profile().stage(shape, true);
    assert!(time.overhead < time.total);
    (1e3 * time.total.as_seconds(), time.extrapolated)
}

#[test]
fn a_measured_batch_takes_what_was_measured() {
    for (shape, expected) in [
        (shape(&[], &[128]), 20.0),
        (shape(&[], &[512; 4]), 170.0),
        (shape(&[128], &[]), 9.0),
        (shape(&[512; 8], &[]), 12.0),
        (shape(&[543; 8], &[]), 12.0),
    ] {
        let (time, beyond) = ms(&shape);
        assert!(
            (time / expected - 1.0).abs() < 1e-9 && !beyond,
            "{time} for {expected}"
        );
    }
}

#[test]
fn between_and_beyond_the_roofline_leads() {
    let (time, beyond) = ms(&shape(&[300; 4], &[]));
    assert!(time > 9.0 && time < 12.0 && !beyond, "{time}");
    let (time, beyond) = ms(&shape(&[512; 64], &[]));
    assert!(time > 12.0 && time < 120.0 && beyond, "{time}");
    let (time, beyond) = ms(&shape(&[], &[2048]));
    assert!(time > 4.0 * 40.0 && time < 400.0 && beyond, "{time}");
    // Weights are read once for both parts.
    let (mixed, _) = ms(&shape(&[512; 8], &[512]));
    assert!((45.0..57.0).contains(&mixed), "{mixed}");
    assert!(
        ms(&shape(&[512; 8], &[64])).1,
        "a prompt shorter than any measured"
    );
}

#[test]
fn what_is_doubtful_is_said() {
    assert_eq!(profile().warnings(8), Vec::<String>::new());
    let far = profile().warnings(128);
    assert_eq!(
        far,
        ["decode is measured up to batch_size 8; 128 is 16 times beyond, from the roofline"]
    );
    // A decode that computes its cache anew.
    let entries = [
        prefill(512, 2, 18.28),
        decode(512, 1, 2, 18.75),
        decode(512, 32, 2, 18.8),
    ];
    let warnings = read(&format!("[{}]", entries.join(","))).unwrap().warnings(2);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("18.75 ms, prefill of as many 18.28 ms"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("18.75 ms for 1 new token and 18.8 ms for 32"),
        "{warnings:?}"
    );
}

#[test]
fn a_file_that_cannot_be_used_says_where() {
    let good = prefill(1, 1, 1.0);
    for (json, says) in [
        ("[".to_owned(), "line 1"),
        ("[]".to_owned(), "has no prefill entry"),
        (format!("[{good}]"), "has no decode entry of new_tokens 1"),
        (format!("[{good},\n{}]", decode(1, 1, 1, -1.0)), "entry 2: -1 ms"),
        (
            format!("[{good},\n{}]", decode(1, 1, 0, 1.0)),
            "entry 2: batch_size",
        ),
        (
            format!("[{good},\n{}]", good.replace("prefill", "other")),
            "line 2",
        ),
        (
            format!(
                "[{good},\n{}]",
                good.replace("median_ms\": 1", "median_ms\": NaN")
            ),
            "line 2",
        ),
        (
            r#"[{"type": "prefill", "seq_len": 1, "batch_size": 1}]"#.to_owned(),
            "neither median_ms nor mean_ms",
        ),
    ] {
        let error = read(&json).unwrap_err();
        assert!(
            error.starts_with("fitted_profile.json: ") && error.contains(says),
            "{error}"
        );
    }
}
