//! The jobs of a published experiment file: every combination of what it lists, with the key under which the tool keeps the
//! trials of a job.
//!
//! The keys are the tools' own, with their faults: etalon's holds the port and not the trace file, sarathi-serve's not the
//! seed. They say where published results lie; this program's cache has another key (`trial::TrialId`).

mod etalon;
mod published;
mod sarathi;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

pub use published::{PUBLISHED, Published};

/// A job: one search.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What the tool takes for its identity.
    pub key: String,
    /// GPUs that it needs.
    pub gpus: u64,
    /// What it consists of, by the names of the file, and by those under which records know it.
    pub fields: Map<String, Value>,
}

impl Job {
    /// The first eight hexadecimal digits of the key's SHA-1: the name of its folder.
    pub fn hash(&self) -> String {
        hash(&self.key)
    }
}

/// The first eight hexadecimal digits of a text's SHA-1.
pub fn hash(key: &str) -> String {
    let digest = Sha1::digest(key.as_bytes());
    let first = digest.iter().take(4);
    let number = first.fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{number:08x}")
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etalon.
    Etalon,
    /// sarathi-serve.
    Sarathi,
}

/// The jobs of a file, in the tool's order.
///
/// # Errors
/// What is wrong with the file, with the line.
pub fn expand(tool: Tool, yaml: &str) -> Result<Vec<Job>, String> {
    match tool {
        Tool::Etalon => Ok(etalon::jobs(&read(yaml)?)),
        Tool::Sarathi => Ok(sarathi::jobs(&read(yaml)?)),
    }
}

fn read<T: DeserializeOwned>(yaml: &str) -> Result<T, String> {
    serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
}

/// A value as Python's `str` writes it into a key.
fn written(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:?}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// Whether a list, where there is one, holds a name.
fn allows(list: Option<&Vec<String>>, name: Option<&str>) -> bool {
    list.is_none_or(|list| list.is_empty() || name.is_some_and(|name| list.iter().any(|l| l == name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(file: &str) -> Vec<Job> {
        let entry = PUBLISHED.iter().find(|entry| entry.file == file).unwrap();
        entry.jobs().unwrap()
    }

    #[test]
    fn every_published_file_expands() {
        for entry in PUBLISHED {
            assert!(!entry.jobs().unwrap().is_empty(), "{}", entry.file);
        }
        // Models, traces and schedulers: 1 x 2 x 3; a file of figure 7 has five schedulers.
        assert_eq!(published("figure-5-6/mistral7b_relaxed.yml").len(), 6);
        assert_eq!(published("figure-7/isoqps/yi34b.yml").len(), 5);
        assert_eq!(published("config.yml").len(), 36);
        assert_eq!(published("debug_config.yml").len(), 2);
        for (file, jobs) in [
            ("default.yml", 12),
            ("llama_8b.yml", 4),
            ("llama_70b.yml", 2),
            ("mixtral.yml", 2),
        ] {
            assert_eq!(published(file).len(), jobs, "{file}");
        }
    }

    #[test]
    fn keys_are_those_of_the_tools() {
        let jobs = published("default.yml");
        assert_eq!(
            jobs[0].key,
            "llama-3-8b-instruct_tp1_pp1_poisson_trace_1_10_1200_1000_openai_vllm_token-abc123_8000"
        );
        assert_eq!(jobs[0].hash(), "69bb20ab");
        // Of relaxed and strict files, the jobs of vLLM and Orca have one key.
        let relaxed = published("figure-5-6/mistral7b_relaxed.yml");
        let strict = published("figure-5-6/mistral7b_strict.yml");
        assert_eq!(relaxed[0].key, "mistral-7b_chat_tk8192_rq2048_vllm_bs128_tp1_pp1");
        assert_eq!(
            relaxed[2].key,
            "mistral-7b_chat_tk8192_rq2048_sarathi_bs128_cs2048_tp1_pp1"
        );
        let shared = relaxed.iter().zip(&strict).filter(|(r, s)| r.key == s.key);
        assert_eq!(shared.count(), 4);
    }

    #[test]
    fn values_are_written_as_python_does() {
        let words: Vec<String> = [json!(1), json!(1.0), json!(0.5), json!(null), json!(true)]
            .iter()
            .map(written)
            .collect();
        assert_eq!(words, ["1", "1.0", "0.5", "None", "True"]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = expand(
            Tool::Sarathi,
            "schedulers: []\ntraces: []\nparallel_spec: []\nmodels: []\nmodel: 1\n",
        )
        .unwrap_err();
        assert!(error.contains("model") && error.contains('5'), "{error}");
    }
}
