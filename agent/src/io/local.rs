//! The local socket: for the person on this host, with no controller, DNS or network in the way. One word a line in, one
//! JSON document a line out.

use crate::core::{Event, LocalAnswer, LocalRequest};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// People at a time.
const CONNECTIONS_MAX: usize = 16;
/// How long a person waits for an answer before hearing that there is none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

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

/// Makes the socket, for root alone.
///
/// # Errors
/// The folder cannot be made, or the socket not bound.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
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
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (waiting, events) = (waiting.clone(), events.clone());
        tokio::spawn(async move {
            // A person who hangs up in the middle is no error.
            let _ = converse(stream, &waiting, &events).await;
            drop(place);
        });
    }
}

async fn converse(stream: UnixStream, waiting: &Waiting, events: &mpsc::Sender<Event>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(tokio::io::AsyncReadExt::take(reader, 1 << 16)).lines();
    while let Some(line) = lines.next_line().await? {
        let request = match line.trim() {
            "status" => Some(LocalRequest::Status),
            "dump" => Some(LocalRequest::Dump),
            _ => None,
        };
        let answer = match request {
            None => "{\"error\":\"unknown request: status and dump are known\"}".to_string(),
            Some(request) => {
                let (id, receiver) = waiting.ask();
                if events.send(Event::Local { id, request }).await.is_err() {
                    return Ok(());
                }
                match tokio::time::timeout(ANSWER_MAX, receiver).await {
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

/// Asks a running agent.
///
/// # Errors
/// It does not run, or does not answer.
pub fn ask(path: &Path, request: &str) -> io::Result<String> {
    let mut stream = BlockingStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_MAX * 2))?;
    writeln!(stream, "{request}")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}
