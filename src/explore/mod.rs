//! A grid of deployments, each searched for what it can bear. The file is that of Vidur's config explorer.

mod condition;
mod numbers;

pub use condition::Condition;
pub use numbers::Numbers;
