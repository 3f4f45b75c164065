//! The listening side: handshakes in tasks of their own, bounded in number and time, so that a slow one holds nobody up.

use crate::{Identity, Role};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, version::TLS13};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::debug;

/// Handshakes at a time; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;
/// How long one may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// For agents and peers: TLS 1.3 alone, a client certificate of our authority demanded.
///
/// # Errors
/// The key does not fit the certificate, or the authority cannot verify anybody.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots.clone(), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// For REST: TLS 1.3 alone, no client certificate.
///
/// # Errors
/// The key does not fit the certificate.
pub fn web_server_config(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Who is at the other end of a connection, in each gRPC request's extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What the certificate says.
    pub role: Option<Role>,
    /// Where it comes from.
    pub address: SocketAddr,
}

/// An accepted connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepted connections of a listener, for tonic's `serve_with_incoming`.
pub fn incoming(listener: TcpListener, config: Arc<ServerConfig>) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(HANDSHAKES_MAX);
    let acceptor = TlsAcceptor::from(config);
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    tokio::spawn(async move {
        while let Ok(place) = places.clone().acquire_owned().await {
            let (stream, address) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, or the client went away in between: go on a little later.
                        debug!(%error, "accept");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
                () = sender.closed() => return,
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                match handshake(&acceptor, stream, address).await {
                    // Nobody takes it when the server stops.
                    Ok(connection) => drop(sender.send(Ok(connection)).await),
                    Err(error) => debug!(%address, %error, "handshake refused"),
                }
                drop(place);
            });
        }
    });
    ReceiverStream::new(receiver)
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream, address: SocketAddr) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let role = certificates.first().and_then(|certificate| Role::of(certificate));
    Ok(Connection { stream, peer: Peer { role, address } })
}
