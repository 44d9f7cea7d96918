//! https: a TLS endpoint in front of the scripted server.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::server::{Server, quick};
use super::{command, run};
use crate::support::golden;

/// Ends TLS and passes everything on to `upstream`; returns the port.
fn terminate_tls(upstream: String) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(golden("native/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(golden("native/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    if let (Ok(mut tls), Ok(mut plain)) =
                        (acceptor.accept(tcp).await, TcpStream::connect(upstream).await)
                    {
                        let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                    }
                });
            }
        });
    });
    port
}

#[test]
fn https_works_with_a_named_authority_and_fails_clearly_without() {
    let server = Server::start(|_, request, stream| quick(request, stream));
    let port = terminate_tls(server.url.trim_start_matches("http://").to_owned());
    let url = format!("https://localhost:{port}/v1");
    let mut trusted = command(&url, &[]);
    trusted.env("SSL_CERT_FILE", golden("native/ca.pem"));
    let ran = run(trusted);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.stderr);
    assert_eq!(ran.summary["client"]["kernel_timestamps"], true);

    let mut untrusted = command(&url, &["--model", "m"]);
    // An authority, but not the one that signed.
    untrusted.env("SSL_CERT_FILE", golden("native/server.pem"));
    let ran = run(untrusted);
    assert_eq!(ran.code, Some(12), "{}", ran.stderr);
    assert!(ran.stderr.contains("SSL_CERT_FILE"), "{}", ran.stderr);

    // Plain http spoken to a TLS port, and TLS to a plain one.
    let ran = run(command(&format!("http://localhost:{port}"), &["--model", "m"]));
    assert_eq!(ran.code, Some(12), "{}", ran.stderr);
    let mut plain = command(&server.url.replace("http", "https"), &["--model", "m"]);
    plain.env("SSL_CERT_FILE", golden("native/ca.pem"));
    let ran = run(plain);
    assert_eq!(ran.code, Some(12), "{}", ran.stderr);
}
