//! The connecting side.

use crate::{CONTROLLER_NAME, Identity};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, version::TLS13};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

/// How long a connection with its handshake may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// A stream whose other side answers no ping for so long is dead: a half-open one would hang for ever.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_ANSWER_MAX: Duration = Duration::from_secs(2);

/// TLS 1.3 alone, own certificate shown, server known by the authority and [`CONTROLLER_NAME`].
///
/// # Errors
/// The key does not fit the certificate.
pub fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(identity.roots.clone())
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Opens TCP and TLS to one address.
#[derive(Clone)]
pub struct Connector {
    address: String,
    tls: TlsConnector,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector { address, tls } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(CONTROLLER_NAME).map_err(io::Error::other)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

/// A connected gRPC channel to a controller.
///
/// # Errors
/// Refused, unreachable, too slow, or not a controller of this authority.
pub async fn channel(address: &str, config: Arc<ClientConfig>) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{CONTROLLER_NAME}"))?
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_MAX)
        .keep_alive_while_idle(true);
    let connector = Connector { address: address.to_string(), tls: TlsConnector::from(config) };
    endpoint.connect_with_connector(connector).await
}
