//! The agents' streams: who speaks is who the certificate says. One task per stream; a newer program replaces an
//! older one that was not sent yet, so a slow agent costs one program of memory, whatever happens.

use crate::core::{AgentSession, Event};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use transport::{MESSAGE_BYTES_MAX, Peer, Role};
use wire::agent::{ToAgent, ToController};
use wire::proto::agent::v1 as proto;
use wire::proto::agent::v1::fleet_server::{Fleet, FleetServer};

/// Largest message of an agent: a list of links and failures.
const INCOMING_BYTES_MAX: usize = 1 << 20;
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a stream may stay silent at its beginning.
const HELLO_MAX: Duration = Duration::from_secs(5);
const ENDING: &str = "this controller is ending";

/// All open streams.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    // A plain lock: held for a map operation, never across an await.
    open: Arc<Mutex<BTreeMap<AgentSession, Arc<Outbox>>>>,
    last: Arc<AtomicU64>,
}

/// What waits for one agent.
#[derive(Debug, Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
    closing: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    welcome: Option<ToAgent>,
    offer: Option<ToAgent>,
    pulse: Option<ToAgent>,
    closed: Option<String>,
}

impl Outbox {
    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, message: ToAgent) {
        self.with(|waiting| {
            let place = match &message {
                ToAgent::Welcome { .. } => &mut waiting.welcome,
                ToAgent::Offer(_) => &mut waiting.offer,
                ToAgent::Pulse { .. } => &mut waiting.pulse,
            };
            *place = Some(message);
        });
        self.filled.notify_one();
    }

    /// The next message, or why there will be none.
    async fn next(&self) -> Result<ToAgent, String> {
        loop {
            let found = self.with(|waiting| {
                let next =
                    waiting.welcome.take().or_else(|| waiting.offer.take()).or_else(|| waiting.pulse.take());
                next.map(Ok).or_else(|| waiting.closed.clone().map(Err))
            });
            match found {
                Some(found) => return found,
                None => self.filled.notified().await,
            }
        }
    }

    /// Why the core closed the stream, once it did.
    async fn closed(&self) -> String {
        loop {
            if let Some(reason) = self.with(|waiting| waiting.closed.clone()) {
                return reason;
            }
            self.closing.notified().await;
        }
    }
}

impl Agents {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<AgentSession, Arc<Outbox>>) -> T) -> T {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Queues a message for a stream; one that is gone takes none.
    pub fn send(&self, session: AgentSession, message: ToAgent) {
        if let Some(outbox) = self.with(|open| open.get(&session).cloned()) {
            outbox.put(message);
        }
    }

    /// Ends a stream: after what waits in it when its agent reads, at once when it does not.
    pub fn close(&self, session: AgentSession, reason: String) {
        if let Some(outbox) = self.with(|open| open.get(&session).cloned()) {
            info!(session = session.0, %reason, "agent's session closed");
            outbox.with(|waiting| waiting.closed = Some(reason));
            outbox.filled.notify_one();
            outbox.closing.notify_one();
        }
    }

    /// Number of open streams.
    pub fn count(&self) -> usize {
        self.with(|open| open.len())
    }

    /// Serves agents until `stop` is done.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        events: mpsc::Sender<Event>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let service = FleetServer::new(Service { agents: self.clone(), events })
            .max_decoding_message_size(INCOMING_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Server::builder()
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_ANSWER_MAX))
            .add_service(service)
            .serve_with_incoming_shutdown(transport::incoming(listener, tls), stop)
            .await
    }
}

struct Service {
    agents: Agents,
    events: mpsc::Sender<Event>,
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<proto::ToAgent, Status>> + Send>>;

#[tonic::async_trait]
impl Fleet for Service {
    type SessionStream = Outgoing;

    async fn session(
        &self,
        request: Request<Streaming<proto::ToController>>,
    ) -> Result<Response<Outgoing>, Status> {
        let role = request.extensions().get::<Peer>().and_then(|peer| peer.role.clone());
        let Some(Role::Agent(host)) = role else {
            return Err(Status::permission_denied("only agents speak here: show an agent's certificate"));
        };
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(HELLO_MAX, incoming.next())
            .await
            .map_err(|_| Status::deadline_exceeded("a session begins with a hello"))?;
        let hello = first.ok_or_else(|| Status::cancelled("the stream ended"))??;
        let hello =
            ToController::try_from(hello).map_err(|error| Status::invalid_argument(error.to_string()))?;
        match &hello {
            ToController::Hello(hello) if hello.host == host => {}
            ToController::Hello(hello) => {
                warn!(certificate = %host, hello = %hello.host, "an agent claims to be another host");
                let why = format!(
                    "the certificate is for {host}, the hello says {}: an agent acts as its own host",
                    hello.host
                );
                return Err(Status::permission_denied(why));
            }
            _ => return Err(Status::invalid_argument("a session begins with a hello")),
        }
        let session = AgentSession(self.agents.last.fetch_add(1, Ordering::Relaxed) + 1);
        let outbox = Arc::new(Outbox::default());
        self.agents.with(|open| open.insert(session, outbox.clone()));
        let (sender, receiver) = mpsc::channel(1);
        let (agents, events) = (self.agents.clone(), self.events.clone());
        // Nothing is awaited between the entry and this task: a call that is dropped there would leave its entry behind.
        tokio::spawn(async move {
            let opened = Event::AgentOpened { session, host: host.clone() };
            let hello = Event::Agent { session, message: hello };
            let why = match (events.send(opened).await, events.send(hello).await) {
                (Ok(()), Ok(())) => converse(session, &mut incoming, &outbox, &sender, &events).await,
                _ => ENDING.to_string(),
            };
            debug!(%host, session = session.0, %why, "agent's session ended");
            agents.with(|open| open.remove(&session));
            // Nobody takes it when this controller ends.
            let _ = events.send(Event::AgentClosed { session }).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Carries messages both ways until one side fails or the core closes; says why.
async fn converse(
    session: AgentSession,
    incoming: &mut Streaming<proto::ToController>,
    outbox: &Outbox,
    sender: &mpsc::Sender<Result<proto::ToAgent, Status>>,
    events: &mpsc::Sender<Event>,
) -> String {
    tokio::select! {
        why = listen(session, incoming, events) => why,
        why = speak(outbox, sender) => why,
    }
}

async fn listen(
    session: AgentSession,
    incoming: &mut Streaming<proto::ToController>,
    events: &mpsc::Sender<Event>,
) -> String {
    loop {
        let message = match incoming.next().await {
            None => return "the agent ended it".to_string(),
            Some(Err(status)) => return status.message().to_string(),
            Some(Ok(message)) => message,
        };
        match ToController::try_from(message) {
            Err(error) => return error.to_string(),
            Ok(message) => {
                if events.send(Event::Agent { session, message }).await.is_err() {
                    return ENDING.to_string();
                }
            }
        }
    }
}

async fn speak(outbox: &Outbox, sender: &mpsc::Sender<Result<proto::ToAgent, Status>>) -> String {
    loop {
        // A place first, then the message: what waits may be replaced by something newer until it is sent.
        let place = tokio::select! {
            biased;
            place = sender.reserve() => place,
            reason = outbox.closed() => return reason,
        };
        let Ok(place) = place else {
            return "the agent does not listen any more".to_string();
        };
        match outbox.next().await {
            Ok(message) => place.send(Ok((&message).into())),
            Err(reason) => {
                place.send(Err(Status::unavailable(reason.clone())));
                return reason;
            }
        }
    }
}
