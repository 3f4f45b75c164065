//! The session with a controller: one stream, one controller at a time, the next one when it fails or falls silent.

use crate::core::Event;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};
use wire::agent::{ToController, read_to_agent};
use wire::proto::agent::v1 as proto;
use wire::proto::agent::v1::fleet_client::FleetClient;

/// Messages on their way to a controller; a session that cannot take them is broken.
const OUTGOING_MAX: usize = 256;
/// A controller that says nothing for so long is as good as gone: it pulses every beat, at most half a second apart.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Keeps a session for as long as the agent lives. `outgoing` carries what the core sends; what is sent while there
/// is no session is lost.
pub async fn run(
    host: String,
    controllers: Vec<String>,
    tls: Arc<ClientConfig>,
    mut outgoing: mpsc::Receiver<ToController>,
    events: mpsc::Sender<Event>,
) {
    // Hosts begin at different controllers, so that one does not carry all.
    let mut next = host.bytes().map(usize::from).sum::<usize>();
    let mut wait = RETRY_MIN;
    while !events.is_closed() {
        let Some(address) = controllers.get(next % controllers.len().max(1)) else { return };
        next += 1;
        match session(address, tls.clone(), &mut outgoing, &events).await {
            Ended::NeverBegan(why) => {
                wait = (wait * 2).min(RETRY_MAX);
                tracing::debug!(%address, %why, "no session");
            }
            Ended::Broke(why) => {
                wait = RETRY_MIN;
                info!(%address, %why, "session ended");
            }
        }
        tokio::time::sleep(jittered(wait)).await;
    }
}

enum Ended {
    NeverBegan(String),
    Broke(String),
}

async fn session(
    address: &str,
    tls: Arc<ClientConfig>,
    outgoing: &mut mpsc::Receiver<ToController>,
    events: &mpsc::Sender<Event>,
) -> Ended {
    let channel = match transport::channel(address, tls).await {
        Ok(channel) => channel,
        Err(error) => return Ended::NeverBegan(chain(&error)),
    };
    let mut client = FleetClient::new(channel).max_decoding_message_size(transport::MESSAGE_BYTES_MAX);
    let (sender, receiver) = mpsc::channel::<proto::ToController>(OUTGOING_MAX);
    // What was meant for an earlier session does not belong to this one.
    while outgoing.try_recv().is_ok() {}
    if events.send(Event::Connected).await.is_err() {
        return Ended::Broke("the agent ends".to_string());
    }
    // The stream opens when the first message, the core's hello, is there to be sent.
    let opened = async {
        match outgoing.recv().await {
            Some(hello) => drop(sender.try_send((&hello).into())),
            None => return Err("the agent ends".to_string()),
        }
        client.session(ReceiverStream::new(receiver)).await.map_err(|status| chain(&status))
    };
    let why = match tokio::time::timeout(SILENCE_MAX, opened).await {
        Ok(Ok(response)) => {
            info!(%address, "session open");
            pump(response.into_inner(), &sender, outgoing, events).await
        }
        Ok(Err(why)) => why,
        Err(_) => "the controller does not answer".to_string(),
    };
    // The agent ends when nobody takes its events.
    let _ = events.send(Event::Disconnected).await;
    Ended::Broke(why)
}

/// Carries messages both ways until one side fails; says why.
async fn pump(
    mut incoming: tonic::Streaming<proto::ToAgent>,
    sender: &mpsc::Sender<proto::ToController>,
    outgoing: &mut mpsc::Receiver<ToController>,
    events: &mpsc::Sender<Event>,
) -> String {
    let silence = tokio::time::sleep(SILENCE_MAX);
    tokio::pin!(silence);
    loop {
        tokio::select! {
            message = incoming.next() => {
                silence.as_mut().reset(tokio::time::Instant::now() + SILENCE_MAX);
                let message = match message {
                    None => return "the controller ended it".to_string(),
                    Some(Err(status)) => return chain(&status),
                    Some(Ok(message)) => read_to_agent(message),
                };
                match message {
                    Ok(message) => {
                        if events.send(Event::Controller(message)).await.is_err() {
                            return "the agent ends".to_string();
                        }
                    }
                    Err((why, None)) => warn!(%why, "a controller's message is passed over"),
                    Err((why, Some(ack))) => {
                        warn!(%why, "an offer is refused: this agent cannot install it");
                        if sender.try_send((&ToController::Ack(*ack)).into()).is_err() {
                            return "the controller does not take what is sent".to_string();
                        }
                    }
                }
            }
            message = outgoing.recv() => match message {
                None => return "the agent ends".to_string(),
                Some(message) => {
                    if sender.try_send((&message).into()).is_err() {
                        return "the controller does not take what is sent".to_string();
                    }
                }
            },
            () = &mut silence => return "the controller fell silent".to_string(),
        }
    }
}

/// Between half of it and all of it, so that many agents do not come back at the same moment.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness everybody waits the whole time: slower, not wrong.
    let share = SystemRandom::new().fill(&mut byte).map_or(255, |()| u32::from(byte[0]));
    wait / 2 + wait * share / 510
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}
