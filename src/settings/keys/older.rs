//! Keys of earlier programs that have no effect here: refused or ignored, each by name.

/// What becomes of a key that is not a setting of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Standing {
    /// It would change what is measured and is not supported: an error, unless its value is empty or the one given.
    Refused {
        /// A value that is no reason to refuse.
        harmless: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// It has no effect; the note says why.
    Ignored(&'static str),
}

/// Keys and what becomes of them.
const STANDINGS: &[(&str, Standing)] = &[
    (
        "SERVICE_TYPE",
        Standing::Refused {
            harmless: "LLM",
            remedy: "only SERVICE_TYPE=LLM is supported: this program loads language models; remove the line",
        },
    ),
    (
        "USE_CASES_YAML",
        Standing::Refused {
            harmless: "",
            remedy: "use cases of SaaS services are not supported; remove the line and set TOKENS_LIST or WORKLOAD_MIXES",
        },
    ),
    (
        "SWEEP_USERS",
        Standing::Refused {
            harmless: "",
            remedy: "a closed loop of users cannot hold a rate; remove the line and set REQ_MIN_START",
        },
    ),
    (
        "NUM_USERS",
        Standing::Ignored("it belongs to the closed loop of users; requests are sent at a rate"),
    ),
    (
        "RESULTS_ALL_FILENAME",
        Standing::Ignored("it belongs to the closed loop of users"),
    ),
    (
        "RESULTS_FILENAME",
        Standing::Ignored("the file is always called results.json"),
    ),
    (
        "REQUESTS_FILENAME_BASE",
        Standing::Ignored("it was set by the older driver for each trial"),
    ),
    (
        "ADDITIVE_EXPECTED_PROPORTIONS",
        Standing::Ignored("it was set by the older driver for each trial"),
    ),
    (
        "ADDITIVE_TRUE_PROPORTIONS",
        Standing::Ignored("it was set by the older driver for each trial"),
    ),
    (
        "REQ_MIN",
        Standing::Ignored("it is chosen by the search; REQ_MIN_START says where it begins"),
    ),
    (
        "MIN_INPUT_TOKENS",
        Standing::Ignored("it follows from TOKENS_LIST"),
    ),
    (
        "MAX_INPUT_TOKENS",
        Standing::Ignored("it follows from TOKENS_LIST"),
    ),
    (
        "MIN_OUTPUT_TOKENS",
        Standing::Ignored("it follows from TOKENS_LIST"),
    ),
    (
        "MAX_OUTPUT_TOKENS",
        Standing::Ignored("it follows from TOKENS_LIST"),
    ),
    (
        "CPUS",
        Standing::Ignored("it was a column of the oldest results.csv, which is no longer written"),
    ),
    (
        "NODE",
        Standing::Ignored(
            "it was a column of the oldest results.csv; the host name is recorded in trial.json",
        ),
    ),
    (
        "SLURM_JOB_ID",
        Standing::Ignored("it is taken from the job itself"),
    ),
    (
        "HF_TOKEN",
        Standing::Ignored(
            "nothing is fetched from Hugging Face; set TOKENIZER to a local tokenizer.json. fmperf reads it itself, from the environment",
        ),
    ),
    (
        "HUGGINGFACE_TOKEN",
        Standing::Ignored(
            "nothing is fetched from Hugging Face; set TOKENIZER to a local tokenizer.json. fmperf reads it itself, from the environment",
        ),
    ),
    (
        "NAMESPACE",
        Standing::Ignored("it belonged to energy metrics, which are not collected"),
    ),
    (
        "NUM_PROM_STEPS",
        Standing::Ignored("it belonged to energy metrics, which are not collected"),
    ),
];

/// What becomes of `name`; `None` where it is not a key of an earlier program.
pub(in crate::settings) fn standing(name: &str) -> Option<Standing> {
    if name.starts_with("PROM_") {
        return Some(Standing::Ignored(
            "it belonged to energy metrics, which are not collected",
        ));
    }
    STANDINGS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, standing)| *standing)
}
