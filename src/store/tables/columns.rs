//! The columns of `results.csv` in every form, and which names mean the same.

use super::Layout;

/// As the users' README describes it.
pub(super) const DOC: &[&str] = &[
    "MODEL_USED",
    "INPUT_TOKENS",
    "OUTPUT_TOKENS",
    "REQ_MIN",
    "EVALUATION",
    "DURATION",
    "TOTAL_REQUESTS",
    "SUCCESS_RATE",
    "PROMPT_TOKEN_COUNT",
    "PROMPT_TEXT",
    "MEDIAN_RESPONSE_TOKENS",
    "JOB_ID",
    "STAGE",
];

/// March 2026.
pub(super) const NEW: &[&str] = &[
    "MODEL_USED",
    "MIN_INPUT_TOKENS",
    "MAX_INPUT_TOKENS",
    "MIN_OUTPUT_TOKENS",
    "MAX_OUTPUT_TOKENS",
    "REQ_MIN",
    "EVALUATION",
    "DURATION",
    "TOTAL_REQUESTS",
    "SUCCESS_RATE",
    "MEDIAN_PROMPT_TOKENS",
    "MEDIAN_RESPONSE_TOKENS",
    "JOB_ID",
    "STAGE",
    "RESPONSES_WITHIN_EXPECTED_INTERVAL",
    "RESPONSES_OUTSIDE_EXPECTED_INTERVAL",
    "AVERAGE_TOKENS_PER_REQUEST",
    "AVERAGE_TOKENS_PER_RESPONSE",
    "INPUT_TOKEN_VARIANCE",
    "OUTPUT_TOKEN_VARIANCE",
    "INPUT_TOKEN_PERCENTILES",
    "OUTPUT_TOKEN_PERCENTILES",
    "ADDITIVE_EXPECTED_PROPORTIONS",
    "ADDITIVE_TRUE_PROPORTIONS",
];

/// The latest form.
pub(super) const LATEST: &[&str] = &[
    "EXPERIMENT_TYPE",
    "MODEL_USED",
    "MIN_INPUT_TOKENS",
    "MAX_INPUT_TOKENS",
    "MIN_OUTPUT_TOKENS",
    "MAX_OUTPUT_TOKENS",
    "REQ_MIN",
    "EVALUATION",
    "DURATION",
    "URL",
    "GPU_COUNT",
    "TOTAL_REQUESTS",
    "SUCCESS_RATE",
    "MEDIAN_PROMPT_TOKENS",
    "MEDIAN_RESPONSE_TOKENS",
    "JOB_ID",
    "STAGE",
    "RESPONSES_WITHIN_EXPECTED_INTERVAL",
    "RESPONSES_OUTSIDE_EXPECTED_INTERVAL",
    "AVG_TOKENS_PER_REQUEST",
    "AVG_TOKENS_PER_RESPONSE",
    "INPUT_TOKEN_VARIANCE",
    "OUTPUT_TOKEN_VARIANCE",
    "INPUT_TOKEN_PERCENTILES",
    "OUTPUT_TOKEN_PERCENTILES",
    "REQUEST_TOTAL_TOKEN_PERCENTILES",
    "ADDITIVE_EXPECTED_PROPORTIONS",
    "ADDITIVE_TRUE_PROPORTIONS",
    "TERMINATION_REASON",
    "BINARY_SEARCH_DISTANCE",
    "BINARY_SEARCH_RELATIVE_DISTANCE",
    "LARGEST_TRUE",
    "SMALLEST_FALSE",
    "FINISHED",
    "WORKLOAD_MIX",
    "ADDITIVE",
];

/// Ours, behind the latest.
pub(super) const OURS: &[&str] = &[
    "INPUT_TOKENS",
    "OUTPUT_TOKENS",
    "RULING",
    "DRIFT",
    "DRIFT_LOW",
    "DRIFT_HIGH",
    "WELCH_P",
    "REALISED_REQ_MIN",
    "VOID",
    "STOPPED_EARLY",
    "MST_VERSION",
    "TRIAL_ID",
];

/// Columns that the events of a trial tell: they are computed anew, everything else is kept.
pub(super) const FROM_EVENTS: &[&str] = &[
    "TOTAL_REQUESTS",
    "SUCCESS_RATE",
    "MEDIAN_RESPONSE_TOKENS",
    "RESPONSES_WITHIN_EXPECTED_INTERVAL",
    "RESPONSES_OUTSIDE_EXPECTED_INTERVAL",
    "AVG_TOKENS_PER_RESPONSE",
    "OUTPUT_TOKEN_VARIANCE",
    "OUTPUT_TOKEN_PERCENTILES",
];

/// Names that mean the same, the latest first.
const SAME: [(&str, &str); 5] = [
    ("MODEL_USED", "MODEL"),
    ("GPU_COUNT", "GPUS"),
    ("AVG_TOKENS_PER_REQUEST", "AVERAGE_TOKENS_PER_REQUEST"),
    ("AVG_TOKENS_PER_RESPONSE", "AVERAGE_TOKENS_PER_RESPONSE"),
    ("MEDIAN_PROMPT_TOKENS", "PROMPT_TOKEN_COUNT"),
];

/// The latest name of a column.
pub(super) fn latest_name(column: &str) -> &str {
    SAME.iter()
        .find(|(_, older)| *older == column)
        .map_or(column, |(latest, _)| *latest)
}

/// The columns of a layout.
pub(super) fn of(layout: Layout) -> Vec<&'static str> {
    match layout {
        Layout::Doc => DOC.to_vec(),
        Layout::New => NEW.to_vec(),
        Layout::Latest => LATEST.to_vec(),
        Layout::Mst => [LATEST, OURS].concat(),
    }
}
