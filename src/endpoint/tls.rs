//! TLS with the system's certificate authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{BaseUrl, EndpointError};

/// TLS for one endpoint.
#[derive(Clone)]
pub(super) struct Tls {
    /// Opens sessions.
    pub(super) connector: TlsConnector,
    /// The name that the certificate must carry.
    pub(super) name: ServerName<'static>,
}

/// TLS for `url`; `None` where it is plain http.
pub(super) fn for_url(url: &BaseUrl) -> Result<Option<Tls>, EndpointError> {
    if !url.is_https() {
        return Ok(None);
    }
    let error = |why: String| EndpointError::Tls {
        url: url.to_string(),
        why,
    };
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        let why = loaded.errors.first().map(ToString::to_string);
        return Err(error(
            why.unwrap_or_else(|| "no certificate authority is installed".to_owned()),
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| error(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(url.host().to_owned()).map_err(|e| error(e.to_string()))?;
    Ok(Some(Tls {
        connector: TlsConnector::from(Arc::new(config)),
        name,
    }))
}
