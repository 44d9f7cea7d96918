//! Placeholder of the contract.
