//! The HTTP side: model discovery and health of a real endpoint, and the embedded simulated endpoint.

pub mod calibrated;
pub mod clock;
pub mod connection;
pub mod discover;
pub mod embedded;
mod error;
pub mod scrape;
mod socket;
mod tls;
mod url;
pub mod usage;

pub use connection::{Connection, Connector};
pub(crate) use discover::connect_error;
pub use discover::{ServedModel, health, models, served};
pub use error::EndpointError;
pub(crate) use error::said;
pub use socket::Stamps;
pub use url::{BaseUrl, UrlError};
