//! The local socket: for the person on this host, with no controller, DNS or network in the way. One request a line in
//! (a word, or a JSON object with its `verb`), one JSON document a line out. For root and the agent's own user alone: the
//! kernel says who is at the other end.

use crate::core::{Act, Event, LocalAnswer, LocalRequest, Verb, destination};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::warn;
use wire::ledger::Hold;

/// People at a time.
const CONNECTIONS_MAX: usize = 16;
/// How long a person waits for an answer before hearing that there is none.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The same for a command: a rollback is answered once the kernel holds it.
const ACT_MAX: Duration = Duration::from_secs(60);
/// Bytes of all requests of one connection.
const REQUESTS_BYTES_MAX: u64 = 1 << 16;
/// Characters of a reason or a name that are kept.
const WORDS_MAX: usize = 500;

/// The last question's number, and who waits for an answer to which.
type Questions = (u64, BTreeMap<u64, oneshot::Sender<LocalAnswer>>);

/// Answers on their way from the core to those who asked.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<Questions>>);

impl Waiting {
    // A plain lock: held for a map operation, never across an await.
    fn with<T>(&self, act: impl FnOnce(&mut Questions) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self) -> (u64, oneshot::Receiver<LocalAnswer>) {
        let (sender, receiver) = oneshot::channel();
        let id = self.with(|(last, waiting)| {
            *last += 1;
            waiting.insert(*last, sender);
            *last
        });
        (id, receiver)
    }

    /// Hands an answer to who asked.
    pub fn answer(&self, id: u64, answer: LocalAnswer) {
        if let Some(sender) = self.with(|(_, waiting)| waiting.remove(&id)) {
            // The person may have gone.
            let _ = sender.send(answer);
        }
    }
}

/// A request as the command line sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `status`, `dump`, `why`, `pin`, `unpin`, `rollback`, `freeze`, `unfreeze`.
    pub verb: String,
    /// With `why`: an address or a prefix.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// With a command: why, for whoever finds the host so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The person's own name, as their session says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

impl Request {
    /// A request without anything but its verb.
    pub fn of(verb: &str) -> Request {
        Request { verb: verb.to_string(), ..Request::default() }
    }
}

/// Makes the socket, for root alone.
///
/// # Errors
/// The folder cannot be made, or the socket not bound.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mode = std::fs::metadata(folder)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            // It may be somebody else's, like /tmp: who connects is checked in any case.
            warn!(folder = %folder.display(), mode = format!("{mode:o}"), "the socket's folder is open to others");
        }
    }
    // A socket that an earlier agent left behind; the state folder's lock says that it is not in use.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the socket for as long as the agent lives.
pub async fn serve(listener: UnixListener, waiting: Waiting, events: mpsc::Sender<Event>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let own = nix::unistd::geteuid().as_raw();
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { return };
        let uid = match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || peer.uid() == own => peer.uid(),
            Ok(peer) => {
                warn!(uid = peer.uid(), "a connection to the local socket is turned away");
                continue;
            }
            Err(why) => {
                warn!(%why, "a connection to the local socket is turned away");
                continue;
            }
        };
        let (waiting, events) = (waiting.clone(), events.clone());
        tokio::spawn(async move {
            // A person who hangs up in the middle is no error.
            let _ = converse(stream, uid, &waiting, &events).await;
            drop(place);
        });
    }
}

async fn converse(
    stream: UnixStream,
    uid: u32,
    waiting: &Waiting,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let reader = tokio::io::AsyncReadExt::take(reader, REQUESTS_BYTES_MAX);
    let mut lines = tokio::io::BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match read(&line, uid) {
            Err(why) => serde_json::json!({"error": why}).to_string(),
            Ok(request) => {
                let within = if matches!(request, LocalRequest::Act(_)) { ACT_MAX } else { ANSWER_MAX };
                let (id, receiver) = waiting.ask();
                if events.send(Event::Local { id, request }).await.is_err() {
                    return Ok(());
                }
                match tokio::time::timeout(within, receiver).await {
                    Ok(Ok(LocalAnswer(document))) => document,
                    _ => "{\"error\":\"the agent does not answer\"}".to_string(),
                }
            }
        };
        writer.write_all(answer.as_bytes()).await?;
        writer.write_all(b"\n").await?;
    }
    Ok(())
}

/// What a line asks for; the time of a command is this machine's wall clock, for people alone.
fn read(line: &str, uid: u32) -> Result<LocalRequest, String> {
    let line = line.trim();
    let request = if line.starts_with('{') {
        serde_json::from_str::<Request>(line).map_err(|why| format!("the request cannot be read: {why}"))?
    } else {
        Request::of(line)
    };
    match request.verb.as_str() {
        "status" => return Ok(LocalRequest::Status),
        "dump" => return Ok(LocalRequest::Dump),
        "why" => return destination(&request.prefix).map(LocalRequest::Why),
        _ => {}
    }
    let Some(verb) = Verb::of(&request.verb) else {
        let known = "status, dump, why, pin, unpin, rollback, freeze and unfreeze are known";
        return Err(format!("unknown request: {known}"));
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hold = Hold {
        by: who(uid, &words(&request.by)),
        reason: words(&request.reason),
        since_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    };
    Ok(LocalRequest::Act(Act { verb, hold }))
}

/// The user that the kernel names, and the name that the session gives.
fn who(uid: u32, session: &str) -> String {
    let user = if uid == 0 { "root".to_string() } else { format!("uid {uid}") };
    if session.is_empty() || session == user { user } else { format!("{user} ({session})") }
}

/// One bounded line.
fn words(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(WORDS_MAX).collect()
}

/// Asks a running agent.
///
/// # Errors
/// It does not run, does not answer, or does not talk to this user.
pub fn ask(path: &Path, request: &Request) -> io::Result<String> {
    let mut stream = BlockingStream::connect(path)?;
    stream.set_read_timeout(Some(ACT_MAX + ANSWER_MAX))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it hung up: only root is answered"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_named_after_who_the_kernel_says_it_is() {
        assert_eq!(read("status", 0), Ok(LocalRequest::Status));
        assert_eq!(read("{\"verb\":\"dump\"}", 0), Ok(LocalRequest::Dump));
        let why = read("{\"verb\":\"why\",\"prefix\":\"10.1.0.7\"}", 0);
        assert_eq!(why, Ok(LocalRequest::Why("10.1.0.7/32".parse().unwrap())));
        assert!(read("{\"verb\":\"why\"}", 0).is_err());
        assert!(read("flush", 0).unwrap_err().contains("rollback"));
        assert!(read("{", 0).is_err());
        let line = "{\"verb\":\"pin\",\"reason\":\"a\\nb\",\"by\":\"ada\"}";
        let Ok(LocalRequest::Act(act)) = read(line, 0) else { panic!("a command") };
        assert_eq!(
            (act.verb, act.hold.by.as_str(), act.hold.reason.as_str()),
            (Verb::Pin, "root (ada)", "a b")
        );
        assert_eq!(who(1_000, ""), "uid 1000");
        assert_eq!(who(0, "root"), "root");
    }
}
