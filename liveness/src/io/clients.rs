//! The control socket's clients: lines in, lines out, none of which may hold up a packet.

use crate::core::control::{LINE_BYTES_MAX, Report, Request};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Clients at a time: an agent, and people who look.
const CLIENTS_MAX: usize = 16;
/// Bytes that wait for a client that does not read; more, and it is let go and has to come again.
const WAITING_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;
const READ_BYTES: usize = 65_536;

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    watches: bool,
    /// Hung up, or let go; forgotten by [`Clients::sweep`], since places in the list must not change before.
    is_gone: bool,
}

/// The listener and its clients. The socket's file goes with it.
#[derive(Debug)]
pub(crate) struct Clients {
    path: PathBuf,
    listener: UnixListener,
    clients: Vec<Client>,
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It may be gone already, with its folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Clients {
    /// Makes the socket, for root alone.
    ///
    /// # Errors
    /// The folder cannot be made, the socket not bound, or another process answers there.
    pub(crate) fn bind(path: &Path) -> io::Result<Clients> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another ballast-liveness answers there"));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Clients { path: path.to_path_buf(), listener, clients: Vec::new() })
    }

    /// Descriptors to be waited for: the listener's, then each client's with whether it has something to be written.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let clients = self.clients.iter().map(|client| (client.stream.as_fd(), !client.outgoing.is_empty()));
        std::iter::once((self.listener.as_fd(), false)).chain(clients)
    }

    /// Takes a new client.
    pub(crate) fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
            self.clients.push(Client {
                stream,
                incoming: Vec::new(),
                outgoing: Vec::new(),
                watches: false,
                is_gone: false,
            });
        }
    }

    /// Reads from the `at`-th client; gives its complete lines. One that hung up or speaks nonsense is gone afterwards.
    pub(crate) fn read(&mut self, at: usize) -> Vec<Request> {
        let Some(client) = self.clients.get_mut(at) else { return Vec::new() };
        match client.requests() {
            Ok(requests) => {
                client.watches |= requests.iter().any(|request| matches!(request, Request::Watch(_)));
                requests
            }
            Err(_) => {
                client.hang_up();
                Vec::new()
            }
        }
    }

    /// Writes what waits for the `at`-th client.
    pub(crate) fn flush(&mut self, at: usize) {
        if let Some(client) = self.clients.get_mut(at) {
            client.flush();
        }
    }

    /// Answers the `at`-th client.
    pub(crate) fn answer(&mut self, at: usize, report: &Report) {
        if let (Some(client), Some(line)) = (self.clients.get_mut(at), line(report)) {
            client.say(&line);
        }
    }

    /// Tells all who watch.
    pub(crate) fn tell(&mut self, report: &Report) {
        if !self.clients.iter().any(|client| client.watches) {
            return;
        }
        let Some(line) = line(report) else { return };
        self.clients.iter_mut().filter(|client| client.watches).for_each(|client| client.say(&line));
    }

    /// Forgets those that are gone.
    pub(crate) fn sweep(&mut self) {
        self.clients.retain(|client| !client.is_gone);
    }
}

fn line(report: &Report) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(report).ok()?;
    line.push(b'\n');
    Some(line)
}

impl Client {
    fn requests(&mut self) -> io::Result<Vec<Request>> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.incoming.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        let mut requests = Vec::new();
        while let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.incoming.drain(..=end).collect();
            requests.push(serde_json::from_slice(&line)?);
        }
        if self.incoming.len() > LINE_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(requests)
    }

    fn say(&mut self, line: &[u8]) {
        self.outgoing.extend_from_slice(line);
        self.flush();
        if self.outgoing.len() > WAITING_BYTES_MAX {
            self.hang_up();
        }
    }

    fn flush(&mut self) {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(count) if count > 0 => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return self.hang_up(),
            }
        }
    }

    fn hang_up(&mut self) {
        (self.watches, self.is_gone) = (false, true);
        // Refused when the other side is gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.outgoing.clear();
    }
}
