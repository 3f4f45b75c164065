//! Messages between controllers: one gRPC stream for each ordered pair, mutual TLS 1.3.
//!
//! Delivery is what Raft asks for: in order as long as a connection lives, and anything may be lost. So a full queue
//! drops what is oldest instead of making anybody wait, and a broken connection drops what it carried. A message is only
//! believed when its sender's id is the one in the sender's certificate. Nothing is decided here.

use crate::core::Event;
use futures::stream::{self, Stream, StreamExt};
use rustls::{ClientConfig, ServerConfig};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use transport::{MESSAGE_BYTES_MAX, Peer, Role};
use wire::DecodeError;
use wire::peer::{PeerBody, PeerMessage};
use wire::proto::replica::v1 as proto;
use wire::proto::replica::v1::peers_client::PeersClient;
use wire::proto::replica::v1::peers_server::{Peers as PeersService, PeersServer};

/// Messages that wait for one peer. Raft's window of messages in flight is 256; the rest are observations and votes.
const QUEUE_MESSAGES_MAX: usize = 4_096;
/// Bytes that wait for one peer: a snapshot and as much again.
const QUEUE_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// A peer that restarts should be found at once, and one that is gone should cost nothing.
const RECONNECT_FIRST: Duration = Duration::from_millis(10);
const RECONNECT_MAX: Duration = Duration::from_millis(200);
/// An attempt that took longer was a connection that worked, or a long silence: the next comes soon.
const SETTLED: Duration = Duration::from_secs(1);
/// A half-open stream hangs for ever without pings.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_ANSWER_MAX: Duration = Duration::from_secs(2);
/// Flow control must not slow large messages down; peers are trusted with so much memory.
const WINDOW_BYTES: u32 = 4 << 20;
/// Says which controller is meant, so that swapped addresses are noticed.
const TO_HEADER: &str = "ballast-to";

/// The outgoing half: a queue and a connection for each peer.
#[derive(Debug)]
pub struct Peers {
    queues: BTreeMap<u64, Arc<Queue>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Peers {
    /// Begins to connect to `peers` (id -> `HOST:PORT`; the own `id` is left out). Must run within a tokio runtime.
    pub fn start(
        id: u64,
        peers: &BTreeMap<u64, String>,
        tls: &Arc<ClientConfig>,
        events: &mpsc::Sender<Event>,
    ) -> Peers {
        let mut started = Peers { queues: BTreeMap::new(), tasks: Vec::new() };
        for (&peer, address) in peers.iter().filter(|(peer, _)| **peer != id) {
            let queue = Arc::new(Queue::default());
            let link = Link {
                peer,
                address: address.clone(),
                tls: tls.clone(),
                queue: queue.clone(),
                events: events.clone(),
            };
            started.queues.insert(peer, queue);
            started.tasks.push(tokio::spawn(link.run()));
        }
        started
    }

    /// Queues a message; never waits. It may be lost; so is one to somebody who is no peer.
    pub fn send(&self, to: u64, message: PeerMessage) {
        if let Some(queue) = self.queues.get(&to) {
            queue.push(message);
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What waits for one peer.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<PeerMessage>,
    bytes: usize,
}

impl Waiting {
    fn remove(&mut self, at: usize) -> Option<PeerMessage> {
        let message = self.messages.remove(at)?;
        self.bytes -= weight(&message);
        Some(message)
    }

    /// Makes room: Raft messages go first, since Raft sends again by itself.
    fn shed(&mut self) {
        while self.messages.len() > QUEUE_MESSAGES_MAX || self.bytes > QUEUE_BYTES_MAX {
            let raft = self.messages.iter().position(|message| matches!(message.body, PeerBody::Raft(_)));
            self.remove(raft.unwrap_or(0));
        }
    }
}

/// Bytes that dominate a message's size.
fn weight(message: &PeerMessage) -> usize {
    match &message.body {
        PeerBody::Raft(bytes) => bytes.len(),
        PeerBody::Forward { request, .. } => {
            let wire::peer::ClientBody::PutTopology { topology, .. } = &request.body;
            topology.len()
        }
        PeerBody::ForwardReply { answer, .. } => answer.body.len(),
        PeerBody::Vote { .. } | PeerBody::Observation { .. } => 0,
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held, and a queue of messages that may be lost is never inconsistent.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, message: PeerMessage) {
        let mut waiting = self.waiting();
        waiting.bytes += weight(&message);
        waiting.messages.push_back(message);
        waiting.shed();
        drop(waiting);
        self.pushed.notify_one();
    }

    async fn pop(&self) -> PeerMessage {
        loop {
            if let Some(message) = self.waiting().remove(0) {
                return message;
            }
            self.pushed.notified().await;
        }
    }

    /// Forgets Raft messages: to a peer that comes back they say nothing that newer ones do not.
    fn forget_raft(&self) {
        let mut waiting = self.waiting();
        waiting.messages.retain(|message| !matches!(message.body, PeerBody::Raft(_)));
        waiting.bytes = waiting.messages.iter().map(weight).sum();
    }
}

/// The connection to one peer, made again for ever.
struct Link {
    peer: u64,
    address: String,
    tls: Arc<ClientConfig>,
    queue: Arc<Queue>,
    events: mpsc::Sender<Event>,
}

impl Link {
    async fn run(self) {
        let mut wait = RECONNECT_FIRST;
        let mut told = String::new();
        loop {
            let start = Instant::now();
            let why = self.exchange().await;
            if start.elapsed() > SETTLED {
                wait = RECONNECT_FIRST;
                told.clear();
            }
            if why != told {
                tracing::warn!(
                    peer = self.peer,
                    address = self.address,
                    why,
                    "no connection to a controller"
                );
                told = why;
            }
            self.queue.forget_raft();
            if self.events.send(Event::PeerLost { peer: self.peer }).await.is_err() {
                return;
            }
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    /// One connection from its first byte to its end; says why it ended.
    async fn exchange(&self) -> String {
        let channel = match transport::channel(&self.address, self.tls.clone()).await {
            Ok(channel) => channel,
            Err(error) => return chain(&error),
        };
        let mut client = PeersClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        // Dropped at the end: a dying connection must not take messages from the next one.
        let (_living, ended) = oneshot::channel::<()>();
        let outgoing = stream::unfold(self.queue.clone(), |queue| async move {
            let message = proto::PeerMessage::from(&queue.pop().await);
            Some((message, queue))
        })
        .take_until(ended);
        let mut request = Request::new(outgoing);
        request.metadata_mut().insert(TO_HEADER, MetadataValue::from(self.peer));
        let mut answers = match client.exchange(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return status.message().to_string(),
        };
        tracing::info!(peer = self.peer, address = self.address, "connected to a controller");
        // The answer stays empty for as long as the peer lives.
        match answers.message().await {
            Ok(_) => "it ended the stream".to_string(),
            Err(status) => status.message().to_string(),
        }
    }
}

/// An error with all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// From half of `wait` to all of it: peers that lost each other at once do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let draw = RandomState::new().hash_one(0) % 512;
    wait / 2 + wait * draw as u32 / 1024
}

/// Serves the incoming half for controller `id` of `members`, until `stop` is done and no stream is left: streams end
/// when the receiver of `events` is dropped.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    id: u64,
    members: BTreeSet<u64>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    events: mpsc::Sender<Event>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = PeersServer::new(Incoming { id, members, events })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_ANSWER_MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming_shutdown(transport::incoming(listener, tls), stop)
        .await
}

struct Incoming {
    id: u64,
    members: BTreeSet<u64>,
    events: mpsc::Sender<Event>,
}

impl Incoming {
    /// The peer that speaks, or why it may not.
    fn sender<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let role = request.extensions().get::<Peer>().and_then(|peer| peer.role.clone());
        let Some(Role::Controller(from)) = role else {
            return Err(Status::permission_denied(
                "only controllers speak here: show a controller's certificate",
            ));
        };
        if from == self.id || !self.members.contains(&from) {
            let why = format!("controller {from} is no peer of controller {}: correct --peers", self.id);
            return Err(Status::permission_denied(why));
        }
        let meant = request.metadata().get(TO_HEADER).and_then(|to| to.to_str().ok()?.parse::<u64>().ok());
        if meant != Some(self.id) {
            let meant = meant.map_or("nobody".to_string(), |meant| format!("controller {meant}"));
            let why = format!("this is controller {}, {meant} was meant: correct --peers", self.id);
            return Err(Status::failed_precondition(why));
        }
        Ok(from)
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<proto::PeerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl PeersService for Incoming {
    type ExchangeStream = Answers;

    async fn exchange(
        &self,
        request: Request<Streaming<proto::PeerMessage>>,
    ) -> Result<Response<Answers>, Status> {
        let from = self.sender(&request).inspect_err(|status| {
            tracing::warn!(why = status.message(), "a stream was refused");
        })?;
        let received = receive(from, request.into_inner(), self.events.clone());
        // Read for as long as the answer is: both end with the connection.
        let answers = stream::once(received).filter_map(|end| async move { end.err().map(Err) });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Hands on what `from` says until its stream ends.
async fn receive(
    from: u64,
    mut messages: Streaming<proto::PeerMessage>,
    events: mpsc::Sender<Event>,
) -> Result<(), Status> {
    loop {
        let message = tokio::select! {
            message = messages.message() => message?,
            () = events.closed() => return Err(Status::unavailable("this controller stops")),
        };
        let Some(message) = message else { return Ok(()) };
        let message = match PeerMessage::try_from(message) {
            Ok(message) => message,
            // All that follows is as new; the sender says why it has no connection.
            Err(error @ DecodeError::TooNew { .. }) => {
                return Err(Status::failed_precondition(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(from, %error, "a controller's message cannot be read and is dropped");
                continue;
            }
        };
        if message.from != from {
            tracing::warn!(from, claimed = message.from, "a controller speaks in another one's name");
            return Err(Status::permission_denied("a message's sender is not the one in the certificate"));
        }
        if events.send(Event::Peer(message)).await.is_err() {
            return Err(Status::unavailable("this controller stops"));
        }
    }
}

#[cfg(test)]
mod tests;
