//! Asking a running process, for people and for tests.

use crate::core::control::{Report, Request};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The process answers from its one loop: longer means that it hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A connection to the control socket.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(path: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Connection { reader: BufReader::new(stream) })
    }

    /// Says something; the answer, and after [`Request::Watch`] every change, comes with [`Connection::hear`].
    ///
    /// # Errors
    /// The process is gone.
    pub fn say(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line)
    }

    /// The next report.
    ///
    /// # Errors
    /// The process is gone, says nothing for five seconds, or is of another version.
    pub fn hear(&mut self) -> io::Result<Report> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

/// All that a running process knows.
///
/// # Errors
/// It does not run, or does not answer.
pub fn status(path: &Path) -> io::Result<Report> {
    let mut connection = Connection::open(path)?;
    connection.say(&Request::Status)?;
    connection.hear()
}
