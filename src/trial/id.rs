//! The identity of a trial: what makes two trials the same.

use std::fmt;

use super::TrialSpec;

/// Content hash of a [`TrialSpec`]: 32 hexadecimal digits of BLAKE3 over its canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrialId(String);

impl TrialId {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TrialSpec {
    /// The trial's identity. Fields are hashed in the order of their declaration.
    pub fn id(&self) -> TrialId {
        let mut hasher = blake3::Hasher::new();
        serde_json::to_writer(&mut hasher, self).expect("a trial's specification has string keys only");
        let hex = hasher.finalize().to_hex();
        TrialId(hex.as_str()[..32].to_owned())
    }
}
