//! The connection to the liveness process: says what the core wants, brings what the process says. Comes again and again when
//! there is none: liveness is never a reason to stop.

use crate::core::{Event, neighbours::Process};
use liveness::core::control::{LINE_BYTES_MAX, Request, Wanted};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

const RETRY: Duration = Duration::from_millis(250);

/// Keeps the connection for as long as the agent lives. Says nothing before the core wants something.
pub async fn run(path: PathBuf, mut wanted: watch::Receiver<Option<Wanted>>, events: mpsc::Sender<Event>) {
    if wanted.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut told = None;
    loop {
        let why = match converse(&path, &mut wanted, &events, &mut told).await {
            Ok(()) => return,
            Err(error) => format!("{}: {error}", path.display()),
        };
        if told.as_ref() != Some(&why) {
            tracing::warn!(%why, "no liveness: nothing is concluded from that");
            told = Some(why.clone());
            if events.send(Event::LivenessSays(Process::Silent(why))).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// `Ok`: the agent ends.
async fn converse(
    path: &Path,
    wanted: &mut watch::Receiver<Option<Wanted>>,
    events: &mpsc::Sender<Event>,
    told: &mut Option<String>,
) -> io::Result<()> {
    let (reader, mut writer) = UnixStream::connect(path).await?.into_split();
    wanted.mark_changed();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let request = wanted.borrow_and_update().clone().map(Request::Watch);
                let Some(request) = request else { continue };
                let mut bytes = serde_json::to_vec(&request)?;
                bytes.push(b'\n');
                writer.write_all(&bytes).await?;
            }
            // What was read of a line stays in it when the other branch is taken.
            read = async { (&mut lines).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await } => {
                if read? == 0 || line.last() != Some(&b'\n') {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let report = serde_json::from_slice(&line)?;
                line.clear();
                *told = None;
                if events.send(Event::LivenessSays(Process::Answers(Box::new(report)))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
