//! Every Slurm state and what it means for us, in one place.

use serde::{Deserialize, Serialize};

/// A job state, as Slurm spells it: `RUNNING`, `CANCELLED by 0` without its tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(String);

/// What a state means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not started yet, or to be started again.
    Waiting,
    /// Started, and not over.
    Running,
    /// Over, with success as Slurm sees it.
    Done,
    /// Over by its own or somebody's doing: failed, cancelled, out of memory, out of time.
    Failed,
    /// Taken away by the cluster: the node died, another job preempted it.
    Lost,
    /// A word that is not known: alive until the job is gone.
    Unknown,
}

impl State {
    /// Reads a state; tails such as ` by 0` and a final `+` are dropped.
    pub fn parse(text: &str) -> Self {
        let word = text.split_whitespace().next().unwrap_or("");
        Self(word.trim_end_matches('+').to_ascii_uppercase())
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means.
    pub fn phase(&self) -> Phase {
        match self.0.as_str() {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT"
            | "RESV_DEL_HOLD" => Phase::Waiting,
            // What a job that is COMPLETING left may still be running.
            "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "RESIZING" | "STAGE_OUT" => {
                Phase::Running
            }
            "COMPLETED" => Phase::Done,
            "FAILED" | "CANCELLED" | "TIMEOUT" | "OUT_OF_MEMORY" | "DEADLINE" => Phase::Failed,
            "NODE_FAIL" | "PREEMPTED" | "BOOT_FAIL" | "REVOKED" | "LAUNCH_FAILED" => Phase::Lost,
            _ => Phase::Unknown,
        }
    }

    /// Whether the job may still do something.
    pub fn is_alive(&self) -> bool {
        matches!(self.phase(), Phase::Waiting | Phase::Running | Phase::Unknown)
    }

    /// Whether it stands still although it was started: what it measures meanwhile is void.
    pub fn is_suspended(&self) -> bool {
        matches!(self.0.as_str(), "SUSPENDED" | "STOPPED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_meaning() {
        let meaning = |text: &str| State::parse(text).phase();
        for (text, phase) in [
            ("PENDING", Phase::Waiting),
            ("REQUEUE_HOLD", Phase::Waiting),
            ("running", Phase::Running),
            ("COMPLETING", Phase::Running),
            ("SUSPENDED", Phase::Running),
            ("COMPLETED", Phase::Done),
            ("CANCELLED by 0", Phase::Failed),
            ("CANCELLED+", Phase::Failed),
            ("OUT_OF_MEMORY", Phase::Failed),
            ("NODE_FAIL", Phase::Lost),
            ("PREEMPTED", Phase::Lost),
            ("WARPED", Phase::Unknown),
            ("", Phase::Unknown),
        ] {
            assert_eq!(meaning(text), phase, "{text}");
        }
        assert!(State::parse("WARPED").is_alive());
        assert!(State::parse("COMPLETING").is_alive());
        assert!(!State::parse("CANCELLED by 1000").is_alive());
    }
}
