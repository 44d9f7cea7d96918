//! `prefill.json`: how long prompts of each length take on an idle server, as `mst profile prefill` measured it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::loadgen::Api;
use crate::slo::prefill::{FitError, LeftOut, LengthTimes, PrefillCurve, RepeatSpread, Timed, fit};

/// Name of the file in a profile's folder.
pub const PREFILL_FILE: &str = "prefill.json";
/// Version of the file.
pub const PREFILL_SCHEMA: u32 = 1;
/// What etalon leaves in its folders instead.
const PICKLE: &str = "prefill_predictor.pkl";

/// Why a profile cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PrefillError {
    /// The file or the folder cannot be read.
    #[error("{}: {why}; make a profile with `mst profile prefill --output {}`", path.display(), path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The folder holds etalon's predictor.
    #[error(
        "{}: a pickled predictor of etalon cannot be read here; measure the same server with \
         `mst profile prefill --url URL --profile-dir {}`, which writes {PREFILL_FILE} beside it",
        path.display(),
        folder.display()
    )]
    Pickle {
        /// The pickle.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The file is not a profile.
    #[error("{}:{line}: {why}; make it again with `mst profile prefill`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// What was profiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProfiledTarget {
    /// A live endpoint.
    Endpoint {
        /// Its URL, which holds no secret.
        url: String,
        /// The model.
        model: String,
        /// Which API.
        api: Api,
    },
    /// The embedded simulated endpoint.
    Embedded {
        /// Describes its replica.
        label: String,
        /// Which API.
        api: Api,
    },
    /// A simulated deployment, in virtual time.
    Simulated {
        /// The model.
        model: String,
        /// The GPU.
        device: String,
        /// GPUs that share each layer.
        tensor_parallel: u32,
        /// Pipeline stages.
        pipeline_parallel: u32,
        /// Where its times come from: `profile`, `roofline`, `fitted`, `tables`.
        cost: String,
    },
}

/// What the server tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfiledServer {
    /// `vllm` or `llama.cpp`, by the names of its metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Longest request, prompt and response, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<u32>,
}

/// How it is known that nobody else used the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdleBy {
    /// Its queue metrics, looked at before and after each request.
    Metrics,
    /// It has none: by how little the repeats of a length differ.
    Repeats,
    /// A simulation has no other users.
    Simulated,
}

/// Whether nobody else used the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// How it is known.
    pub by: IdleBy,
    /// Whether it looked idle all the time.
    pub idle: bool,
    /// Looks at the metrics that saw other requests.
    pub busy_looks: u32,
}

/// One request of a profile, in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefillMeasurement {
    /// Tokens that were asked for.
    pub asked_tokens: u32,
    /// Tokens of the prompt as the server counted them; as asked for where it does not tell.
    pub tokens: u32,
    /// Tokens that the server found in a prefix cache, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Time from sending to the first token, seconds.
    pub seconds: f64,
}

/// The content of `prefill.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefillProfile {
    /// [`PREFILL_SCHEMA`].
    pub schema: u32,
    /// Version of the program that measured.
    pub mst_version: String,
    /// When it began, RFC 3339, UTC.
    pub date: String,
    /// What was profiled.
    pub target: ProfiledTarget,
    /// What the server tells of itself.
    pub server: ProfiledServer,
    /// Seeds the prompts and the order of the requests.
    pub seed: u64,
    /// Whether nobody else used the server.
    pub idle: Idle,
    /// Time to first token in seconds over the length of the prompt in tokens.
    curve: PrefillCurve,
    /// Largest length that was measured, tokens.
    pub longest_tokens: f64,
    /// Smallest length that the server refused or failed at, tokens.
    pub refused_tokens: Option<u32>,
    /// Distance of the curve from the measurements.
    pub error: FitError,
    /// Distance from each length of the curve through the others.
    pub left_out: LeftOut,
    /// How much the repeats of a length differ.
    pub repeat_spread: Option<RepeatSpread>,
    /// Each length.
    pub lengths: Vec<LengthTimes>,
    /// Each request, in the order of sending.
    pub measurements: Vec<PrefillMeasurement>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

/// What a profile holds beside what follows from its measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefillFacts {
    /// When it began, RFC 3339, UTC.
    pub date: String,
    /// What was profiled.
    pub target: ProfiledTarget,
    /// What the server tells of itself.
    pub server: ProfiledServer,
    /// Seeds the prompts and the order of the requests.
    pub seed: u64,
    /// Whether nobody else used the server.
    pub idle: Idle,
    /// Smallest length that the server refused or failed at, tokens.
    pub refused_tokens: Option<u32>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

impl PrefillProfile {
    /// A profile from its measurements.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(facts: PrefillFacts, measurements: Vec<PrefillMeasurement>) -> Result<Self, String> {
        let timed: Vec<Timed> = measurements
            .iter()
            .map(|m| Timed {
                asked_tokens: m.asked_tokens,
                tokens: m.tokens,
                seconds: m.seconds,
            })
            .collect();
        let fitted = fit(&timed)?;
        Ok(Self {
            schema: PREFILL_SCHEMA,
            mst_version: env!("CARGO_PKG_VERSION").to_owned(),
            date: facts.date,
            target: facts.target,
            server: facts.server,
            seed: facts.seed,
            idle: facts.idle,
            longest_tokens: fitted.curve.points().last().map_or(0.0, |p| p.tokens),
            refused_tokens: facts.refused_tokens,
            curve: fitted.curve,
            error: fitted.error,
            left_out: fitted.left_out,
            repeat_spread: fitted.spread,
            lengths: fitted.lengths,
            measurements,
            notes: facts.notes,
        })
    }

    /// Time to first token over the length of the prompt.
    pub fn curve(&self) -> &PrefillCurve {
        &self.curve
    }

    /// Reads a profile: the file, or the folder that holds it as `prefill.json`.
    ///
    /// # Errors
    /// When it is not there or not a profile; the message names the file, the line, and what to do.
    pub fn load(path: &Path) -> Result<Self, PrefillError> {
        let file = if path.is_dir() {
            path.join(PREFILL_FILE)
        } else {
            path.to_owned()
        };
        let pickle = [path.join(PICKLE), path.to_owned()]
            .into_iter()
            .find(|p| p.ends_with(PICKLE) && p.is_file());
        if let Some(pickle) = pickle.filter(|p| p == path || !file.exists()) {
            return Err(PrefillError::Pickle {
                folder: pickle.parent().unwrap_or(Path::new("")).to_owned(),
                path: pickle,
            });
        }
        let text = std::fs::read_to_string(&file).map_err(|error| PrefillError::Missing {
            path: file.clone(),
            why: error.to_string(),
        })?;
        let malformed = |line: usize, why: String| PrefillError::Malformed {
            path: file.clone(),
            line: line.max(1),
            why,
        };
        // The version first: what a later one has need not fit here.
        let version: Version =
            serde_json::from_str(&text).map_err(|e| malformed(e.line(), problem(&e.to_string())))?;
        if version.schema != PREFILL_SCHEMA {
            let line = text.lines().position(|l| l.contains("\"schema\"")).unwrap_or(0);
            let why = format!(
                "version {} of the file is not known here, only {PREFILL_SCHEMA}",
                version.schema
            );
            return Err(malformed(line + 1, why));
        }
        serde_json::from_str(&text).map_err(|e| malformed(e.line(), problem(&e.to_string())))
    }

    /// Writes it, in place of what is there.
    ///
    /// # Errors
    /// When the file or its folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), StoreError> {
        let path = std::path::absolute(path)?;
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        super::write_json(&path, self)
    }
}

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// What is wrong, without the place, which stands in front of the message.
fn problem(error: &str) -> String {
    let end = error.find(" at line ").unwrap_or(error.len());
    error[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> PrefillProfile {
        let measurement = |asked_tokens: u32, seconds: f64| PrefillMeasurement {
            asked_tokens,
            tokens: asked_tokens,
            cached_tokens: None,
            seconds,
        };
        let facts = PrefillFacts {
            date: "2026-11-23T09:00:00Z".to_owned(),
            target: ProfiledTarget::Endpoint {
                url: "http://gpu07:8000".to_owned(),
                model: "m".to_owned(),
                api: Api::Completions,
            },
            server: ProfiledServer::default(),
            seed: 7,
            idle: Idle {
                by: IdleBy::Metrics,
                idle: true,
                busy_looks: 0,
            },
            refused_tokens: Some(512),
            notes: vec!["512 tokens were refused".to_owned()],
        };
        let measurements = [(256, 0.21), (128, 0.11), (128, 0.13), (256, 0.22)];
        let measurements = measurements.map(|(n, s)| measurement(n, s)).to_vec();
        PrefillProfile::new(facts, measurements).unwrap()
    }

    #[test]
    fn it_comes_back_from_file_and_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new/profile");
        let profile = profile();
        profile.save(&folder.join(PREFILL_FILE)).unwrap();
        for path in [folder.join(PREFILL_FILE), folder.clone()] {
            assert_eq!(PrefillProfile::load(&path).unwrap(), profile);
        }
        assert_eq!(profile.longest_tokens, 256.0);
        assert!((profile.curve().predict(192.0).seconds - 0.1675).abs() < 1e-12);
        // Beside its successor a pickle does no harm.
        std::fs::write(folder.join(PICKLE), "x").unwrap();
        PrefillProfile::load(&folder).unwrap();
    }

    #[test]
    fn what_is_no_profile_is_refused_with_file_line_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let told = |path: &Path| PrefillProfile::load(path).unwrap_err().to_string();
        let missing = told(dir.path());
        assert!(
            missing.contains("prefill.json") && missing.contains("mst profile prefill"),
            "{missing}"
        );
        let file = dir.path().join(PREFILL_FILE);
        let good = serde_json::to_string_pretty(&profile()).unwrap();
        let line_of = |needle: &str| 1 + good.lines().position(|l| l.contains(needle)).unwrap();
        for (from, to, line, why) in [
            // Known when the curve is whole.
            (
                "\"seconds\": 0.12",
                "\"seconds\": 0.5",
                line_of("\"longest_tokens\"") - 1,
                "never fall",
            ),
            ("\"schema\": 1", "\"schema\": 9", 2, "version 9"),
            (
                "\"seed\": 7",
                "\"seed\": \"x\"",
                line_of("\"seed\""),
                "invalid type",
            ),
            (
                "\"notes\": [",
                "\"nodes\": [",
                good.lines().count(),
                "missing field `notes`",
            ),
        ] {
            std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
            let error = told(&file);
            let place = format!("prefill.json:{line}: ");
            assert!(
                error.contains(&place) && error.contains(why) && error.contains("mst profile prefill"),
                "{error}, not {place}"
            );
        }
        std::fs::remove_file(&file).unwrap();
        let pickle = dir.path().join(PICKLE);
        std::fs::write(&pickle, "x").unwrap();
        for path in [dir.path(), &pickle] {
            let error = told(path);
            assert!(
                error.contains(PICKLE) && error.contains("mst profile prefill --url URL --profile-dir"),
                "{error}"
            );
        }
    }
}
