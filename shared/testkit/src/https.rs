//! An https server on loopback, for what must not be called over plain http.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::serve::Listener;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

/// A server that calls itself `localhost`. It ends when it is dropped.
#[derive(Debug)]
pub struct Https {
    port: u16,
    certificate: NamedTempFile,
    serving: JoinHandle<()>,
}

impl Https {
    /// Serves a router.
    ///
    /// # Panics
    /// When the machine has no port or no room.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's server has no host to spawn by"
    )]
    pub async fn serve(router: Router) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let tls = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("our versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("our certificate");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut certificate = NamedTempFile::new().expect("a file");
        certificate
            .write_all(cert.pem().as_bytes())
            .expect("room for a certificate");
        let tls = Tls {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        };
        let serving = tokio::spawn(async move {
            axum::serve(tls, router)
                .await
                .expect("it never ends by itself");
        });
        Self {
            port,
            certificate,
            serving,
        }
    }

    /// Host and port, as an operator's list of allowed hosts has them.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// A file with the certificate that is to be trusted.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        self.certificate.path()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // Who does not get through the handshake is not served.
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
