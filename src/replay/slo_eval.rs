//! Objectives of veeksha, metrics of its requests, fluidity of its audio.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compare::{Comparison, Nearness};
use super::json::{number, value};
use super::{Case, Malformed};
use crate::slo::audio::{Chunk, audio_fluidity};
use crate::slo::timeline::Timeline;
use crate::slo::veeksha::VeekshaSlo;

pub(super) fn replay(file: &Value) -> Vec<Case> {
    let mut cases = super::each(file, "slo_cases", objective);
    cases.extend(super::each(file, "request_metric_cases", request));
    cases.extend(super::each(file, "audio_fluidity_cases", audio));
    cases
}

fn objective(path: &str, case: &Value) -> Result<Case, Malformed> {
    #[derive(Deserialize)]
    struct Given {
        id: String,
        #[serde(flatten)]
        slo: VeekshaSlo,
        request_level_metrics: Map<String, Value>,
    }
    let given: Given = super::given(path, case)?;
    let (met, observed) = given
        .slo
        .check(&samples(&given.slo, &given.request_level_metrics));
    let mut comparison = Comparison::at(path);
    comparison.value("met", case.get("met"), &met.into(), Nearness::Exact);
    // JSON has no infinity: null stands for it.
    let recorded = case.get("observed").map(|recorded| {
        if recorded.is_null() {
            value(f64::INFINITY)
        } else {
            recorded.clone()
        }
    });
    comparison.number("observed", recorded.as_ref(), observed, Nearness::Arithmetic);
    Ok(Case::new(given.id, comparison.first()))
}

/// The samples of an objective's metric: of `tbc` the gaps of all requests, of others a value a request. What is no number is
/// left out, text that reads as one is not.
pub(super) fn samples(slo: &VeekshaSlo, metrics: &Map<String, Value>) -> Vec<f64> {
    let column = metrics
        .get(slo.column())
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let by_request = slo.metric == "tbc" && column.first().is_some_and(Value::is_array);
    let rows = column.iter().flat_map(|row| match row {
        Value::Array(gaps) if by_request => gaps.as_slice(),
        row => std::slice::from_ref(row),
    });
    rows.filter_map(|sample| match sample {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) => number(sample).or_else(|| text.trim().parse().ok()),
        other => number(other),
    })
    .collect()
}

fn request(path: &str, case: &Value) -> Result<Case, Malformed> {
    #[derive(Deserialize)]
    struct Given {
        id: String,
        inter_chunk_times_s: Vec<f64>,
        #[serde(deserialize_with = "super::whole")]
        num_output_tokens: i64,
    }
    let given: Given = super::given(path, case)?;
    let request = Timeline {
        gaps: given.inter_chunk_times_s,
        output_tokens: u64::try_from(given.num_output_tokens).unwrap_or(0),
    };
    let mut comparison = Comparison::at(path);
    for (name, ours) in [
        ("ttfc", request.ttft()),
        ("tpot", request.tpot_of_tokens()),
        ("tbc_mean", request.mean_gap()),
        ("e2e", request.e2e()),
        ("normalized_e2e", request.normalized_e2e()),
        ("output_throughput", request.output_throughput()),
    ] {
        comparison.number(name, case.get(name), ours, Nearness::Arithmetic);
    }
    Ok(Case::new(given.id, comparison.first()))
}

fn audio(path: &str, case: &Value) -> Result<Case, Malformed> {
    #[derive(Deserialize)]
    struct Given {
        id: String,
        chunks_receipt_ms_duration_ms: Vec<(f64, f64)>,
        frame_ms: f64,
        #[serde(default)]
        startup_delay_ms: f64,
    }
    let given: Given = super::given(path, case)?;
    if !(given.frame_ms > 0.0 && given.startup_delay_ms >= 0.0) {
        return Err(Malformed(format!(
            "{path}: frames of {} ms after {} ms cannot be",
            given.frame_ms, given.startup_delay_ms
        )));
    }
    let chunks: Vec<Chunk> = given
        .chunks_receipt_ms_duration_ms
        .iter()
        .map(|&(receipt_ms, duration_ms)| Chunk {
            receipt_ms,
            duration_ms,
        })
        .collect();
    let ours =
        audio_fluidity(&chunks, given.frame_ms, given.startup_delay_ms).map_or(Value::Null, |result| {
            json!({
                "playable_frames": result.playable_frames,
                "total_deadlines": result.total_deadlines,
                "missed_deadlines": result.missed_deadlines,
                "fluidity_index": value(result.fluidity_index()),
            })
        });
    let mut comparison = Comparison::at(path);
    comparison.value("result", case.get("result"), &ours, Nearness::Arithmetic);
    Ok(Case::new(given.id, comparison.first()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_flattened_and_what_is_no_number_left_out() {
        let read = |metric: &str, metrics: Value| {
            let slo: VeekshaSlo = serde_json::from_value(json!({"metric": metric, "value": 1.0})).unwrap();
            let Value::Object(metrics) = metrics else {
                unreachable!()
            };
            samples(&slo, &metrics)
        };
        let gaps = json!({"tbc": [[1.0, null], [], [2.0, "bad"], 3.0]});
        assert_eq!(read("tbc", gaps), [1.0, 2.0, 3.0]);
        let flat = json!({"end_to_end_latency": [1.5, null, " 2.5 ", true, [4.0]]});
        assert_eq!(read("e2e", flat), [1.5, 2.5, 1.0]);
        assert!(read("interactivity", json!({"ttfc": [1.0]})).is_empty());
    }
}
