//! Mixes, the chat API, and in which form `results.json` is kept.

use std::io::Read;

use serde_json::Value;

use super::{Workspace, read_json, stderr, table};

#[test]
fn a_mix_is_searched_and_its_shares_are_told() {
    let space = Workspace::native(
        "DURATION=2s\nWORKLOAD_MIXES=[(8-16:4-8,3),(32:16,1)]\nREQ_MIN_START=9000\nITERATION_HARD_LIMIT=1",
    );
    let (output, answer) = space.answer(&[]);
    let said = stderr(&output);
    // One trial: what it decides is nobody's concern here.
    assert!(output.status.code().is_some_and(|c| c < 6), "{said}");
    let name = "mix_8-16_4-8@0.75+32_16@0.25";
    assert_eq!(answer[0]["pair"], name, "{said}");
    let (_, trials) = space.trials(name).pop_first().unwrap();
    let (_, rows) = table(&trials[0].join("results.csv"));
    let row = &rows[0];
    assert_eq!(row["WORKLOAD_MIX"], "[(8-16:4-8,0.75),(32-32:16-16,0.25)]");
    assert_eq!(row["ADDITIVE"], "TRUE");
    assert_eq!(row["MIN_INPUT_TOKENS"], "", "a mix has no single pair");
    let shares = |column: &str| -> Value { serde_json::from_str(&row[column]).unwrap() };
    let (expected, achieved) = (
        shares("ADDITIVE_EXPECTED_PROPORTIONS"),
        shares("ADDITIVE_TRUE_PROPORTIONS"),
    );
    assert_eq!(expected["8-16:4-8"], 0.75, "{expected}");
    let first = achieved["8-16:4-8"].as_f64().unwrap();
    let second = achieved["32-32:16-16"].as_f64().unwrap();
    assert!(
        (first + second - 1.0).abs() < 1e-5 && (0.55..0.92).contains(&first),
        "{achieved}"
    );

    let events = read_json(&trials[0].join("results.json"));
    let events = events["results"].as_array().unwrap();
    let mut profiles: Vec<&str> = events
        .iter()
        .map(|e| e["workload_profile"].as_str().unwrap())
        .collect();
    profiles.sort_unstable();
    profiles.dedup();
    assert_eq!(profiles, ["32-32:16-16", "8-16:4-8"]);
    let (_, requests) = table(&trials[0].join("output.csv"));
    for request in &requests {
        let tokens: u32 = request["output_token_count"].parse().unwrap();
        match &*request["workload_profile"] {
            "32-32:16-16" => assert_eq!(tokens, 16),
            _ => assert!((4..=8).contains(&tokens), "{tokens}"),
        }
    }
}

#[test]
fn the_chat_api_is_measured_as_well() {
    let space = Workspace::native("API=chat\nTOKENS_LIST=24:8\nREQ_MIN_START=9000\nITERATION_HARD_LIMIT=2");
    let (output, answer) = space.answer(&[]);
    assert!(matches!(output.status.code(), Some(0 | 5)), "{}", stderr(&output));
    assert!(
        answer[0]["mst_per_minute"].as_f64().unwrap() >= 9000.0,
        "{answer}"
    );
    for folders in space.trials("24_8").values() {
        let manifest = read_json(&folders[0].join("trial.json"));
        assert!(
            manifest["spec"]["target"]["api"]
                .as_str()
                .unwrap()
                .contains("chat"),
            "{manifest}"
        );
        assert_eq!(
            manifest["output_tokens"]["exact"],
            manifest["output_tokens"]["compared"]
        );
        assert_eq!(
            manifest["input_tokens"]["exact"],
            manifest["input_tokens"]["compared"]
        );
        assert!(
            manifest["input_tokens"]["compared"].as_u64().unwrap() > 40,
            "{manifest}"
        );
    }
}

#[test]
fn results_json_is_plain_compressed_or_absent_as_asked() {
    for (wanted, file) in [
        ("auto", Some("results.json")),
        ("on", Some("results.json")),
        ("gz", Some("results.json.gz")),
        ("off", None),
    ] {
        let space = Workspace::native(&format!(
            "RESULTS_JSON={wanted}\nDURATION=500ms\nTOKENS_LIST=8:4\nREQ_MIN_START=1200\nITERATION_HARD_LIMIT=1"
        ));
        let (output, _) = space.answer(&[]);
        assert!(output.status.code().is_some_and(|c| c < 6), "{}", stderr(&output));
        let (_, folders) = space.trials("8_4").pop_first().unwrap();
        let there: Vec<&str> = ["results.json", "results.json.gz"]
            .into_iter()
            .filter(|f| folders[0].join(f).is_file())
            .collect();
        assert_eq!(there, file.into_iter().collect::<Vec<_>>(), "{wanted}");
        let Some(file) = file else { continue };
        let mut text = String::new();
        let bytes = std::fs::File::open(folders[0].join(file)).unwrap();
        if wanted == "gz" {
            flate2::read::GzDecoder::new(bytes)
                .read_to_string(&mut text)
                .unwrap();
        } else {
            std::io::BufReader::new(bytes).read_to_string(&mut text).unwrap();
        }
        let events: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(events["results"].as_array().unwrap().len(), 10 * 4, "{wanted}");
    }
}
