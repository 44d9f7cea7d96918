//! The HTTP side: model discovery and health of a real endpoint, and the embedded simulated endpoint.

pub mod clock;
pub mod connection;
pub mod discover;
mod error;
mod socket;
mod tls;
mod url;

pub use connection::{Connection, Connector};
pub(crate) use discover::connect_error;
pub use discover::{health, models};
pub use error::EndpointError;
pub(crate) use error::said;
pub use socket::Stamps;
pub use url::{BaseUrl, UrlError};
