//! What of a request can be bounded.

use serde::{Deserialize, Serialize};

use crate::sim::Record;

/// A quantity of one request, by the name of its column in `request_metrics.csv`. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Time to first token, from arrival.
    #[serde(alias = "ttft")]
    PrefillE2eTime,
    /// The same, for each token of the prompt.
    PrefillE2eTimeNormalized,
    /// From arrival to the last token.
    #[serde(alias = "e2e", alias = "ttlt")]
    RequestE2eTime,
    /// The same, for each token of the response.
    RequestE2eTimeNormalized,
    /// From arrival to the first iteration.
    RequestSchedulingDelay,
    /// Iterations that it took part in.
    RequestExecutionTime,
    /// Between its first and its last iteration without being part of one.
    RequestPreemptionTime,
    /// From the first iteration to the last token.
    RequestExecutionPlusPreemptionTime,
    /// The same, for each token of the response.
    RequestExecutionPlusPreemptionTimeNormalized,
    /// From the first iteration to the first token.
    PrefillTimeExecutionPlusPreemption,
    /// The same, for each token of the prompt.
    PrefillTimeExecutionPlusPreemptionNormalized,
    /// From the first token to the last, for each token of the response, the first one counted.
    DecodeTimeExecutionPlusPreemptionNormalized,
    /// From the first token to the last, for each token after the first.
    Tpot,
    /// Longest gap between two tokens.
    #[serde(alias = "max_tbt")]
    MaxTimeBetweenTokens,
    /// How often it was preempted and computed anew; no time.
    RequestNumRestarts,
}

impl Metric {
    /// The name, as the column has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrefillE2eTime => "prefill_e2e_time",
            Self::PrefillE2eTimeNormalized => "prefill_e2e_time_normalized",
            Self::RequestE2eTime => "request_e2e_time",
            Self::RequestE2eTimeNormalized => "request_e2e_time_normalized",
            Self::RequestSchedulingDelay => "request_scheduling_delay",
            Self::RequestExecutionTime => "request_execution_time",
            Self::RequestPreemptionTime => "request_preemption_time",
            Self::RequestExecutionPlusPreemptionTime => "request_execution_plus_preemption_time",
            Self::RequestExecutionPlusPreemptionTimeNormalized => {
                "request_execution_plus_preemption_time_normalized"
            }
            Self::PrefillTimeExecutionPlusPreemption => "prefill_time_execution_plus_preemption",
            Self::PrefillTimeExecutionPlusPreemptionNormalized => {
                "prefill_time_execution_plus_preemption_normalized"
            }
            Self::DecodeTimeExecutionPlusPreemptionNormalized => {
                "decode_time_execution_plus_preemption_normalized"
            }
            Self::Tpot => "tpot",
            Self::MaxTimeBetweenTokens => "max_time_between_tokens",
            Self::RequestNumRestarts => "request_num_restarts",
        }
    }

    /// Its value for a finished request.
    pub fn of(self, record: &Record) -> f64 {
        let input = f64::from(record.input_tokens);
        let output = f64::from(record.output_tokens);
        let served = || (record.completed - record.first_scheduled).as_seconds();
        let prefilled = || (record.first_token - record.first_scheduled).as_seconds();
        match self {
            Self::PrefillE2eTime => record.ttft(),
            Self::PrefillE2eTimeNormalized => record.ttft() / input,
            Self::RequestE2eTime => record.e2e(),
            Self::RequestE2eTimeNormalized => record.e2e() / output,
            Self::RequestSchedulingDelay => record.scheduling_delay(),
            Self::RequestExecutionTime => record.execution.as_seconds(),
            Self::RequestPreemptionTime => record.preempted(),
            Self::RequestExecutionPlusPreemptionTime => served(),
            Self::RequestExecutionPlusPreemptionTimeNormalized => served() / output,
            Self::PrefillTimeExecutionPlusPreemption => prefilled(),
            Self::PrefillTimeExecutionPlusPreemptionNormalized => prefilled() / input,
            Self::DecodeTimeExecutionPlusPreemptionNormalized => record.decode_normalized(),
            Self::Tpot => record.tpot(),
            Self::MaxTimeBetweenTokens => record.max_tbt.as_seconds(),
            Self::RequestNumRestarts => f64::from(record.restarts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serde_and_field_terms_are_taken() {
        for metric in [
            Metric::PrefillE2eTime,
            Metric::PrefillE2eTimeNormalized,
            Metric::RequestE2eTime,
            Metric::RequestE2eTimeNormalized,
            Metric::RequestSchedulingDelay,
            Metric::RequestExecutionTime,
            Metric::RequestPreemptionTime,
            Metric::RequestExecutionPlusPreemptionTime,
            Metric::RequestExecutionPlusPreemptionTimeNormalized,
            Metric::PrefillTimeExecutionPlusPreemption,
            Metric::PrefillTimeExecutionPlusPreemptionNormalized,
            Metric::DecodeTimeExecutionPlusPreemptionNormalized,
            Metric::Tpot,
            Metric::MaxTimeBetweenTokens,
            Metric::RequestNumRestarts,
        ] {
            let text = serde_json::to_string(&metric).unwrap();
            assert_eq!(text, format!("\"{}\"", metric.name()));
        }
        let read = |text: &str| serde_json::from_str::<Metric>(text).unwrap();
        assert_eq!(read("\"ttft\""), Metric::PrefillE2eTime);
        assert_eq!(read("\"e2e\""), Metric::RequestE2eTime);
    }
}
