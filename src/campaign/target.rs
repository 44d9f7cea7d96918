//! What is loaded: a live endpoint, or the embedded one.

use crate::endpoint::EndpointError;
use crate::endpoint::discover::{self, Access};
use crate::endpoint::embedded::{EmbeddedConfig, EmbeddedServer};
use crate::loadgen::{Api, Endpoint, PromptEncoding};
use crate::settings::Settings;
use crate::sim::{ReplicaConfig, true_capacity};
use crate::units::Rate;
use crate::workload::LengthClass;

/// Token ids that prompts are drawn from where the server takes ids: inside every vocabulary in use (the smallest has
/// some 32,000), and above the special and byte tokens at its start.
const TOKEN_IDS: PromptEncoding = PromptEncoding::TokenIds { low: 1_000, high: 30_000 };

/// What is loaded, ready.
pub struct Target {
    /// Where and how to reach it.
    pub endpoint: Endpoint,
    /// Names it in the identity of a trial.
    pub label: String,
    /// How prompts are sent.
    pub encoding: PromptEncoding,
    /// What was found out on the way.
    pub notes: Vec<String>,
    embedded: Option<(EmbeddedServer, ReplicaConfig)>,
    settings: Settings,
}
