//! Asking controllers: HTTPS with the authority's certificate and the token; the next controller when one does not answer.

use crate::arguments::Server;
use crate::exit::{self, Failure};
use anyhow::{Context, Result};
use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use wire::rest::{Problem, Status};

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A write waits at the controller for a leader and for a majority.
const ANSWER_MAX: Duration = Duration::from_secs(45);
/// How long all controllers may be unreachable, or without a leader, before that is the answer: an election takes a second.
const PATIENCE: Duration = Duration::from_secs(8);
const BODY_BYTES_MAX: u64 = 64 << 20;

/// The way to the controllers.
pub(crate) struct Client {
    agent: Agent,
    urls: Vec<String>,
    token: String,
}

/// An answer of a controller.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What to send besides the path.
#[derive(Default)]
pub(crate) struct Put<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) if_match: Option<u64>,
    pub(crate) overrides: Option<String>,
}

impl Client {
    /// A client for the controllers of the command line or the environment.
    pub(crate) fn of(server: &Server) -> Result<Client, Failure> {
        if server.url.is_empty() {
            let cure = "give --url, or set BALLAST_URL; for a lab: eval \"$(scripts/lab env)\"";
            return Err(Failure::new(exit::UNREACHABLE, format!("no controller's address is known: {cure}")));
        }
        let need = |path: &Option<std::path::PathBuf>, flag: &str, variable: &str| {
            let missing = || Failure::new(exit::USAGE, format!("give {flag}, or set {variable}"));
            path.clone().ok_or_else(missing)
        };
        let ca = need(&server.ca, "--ca", "BALLAST_CA")?;
        let token_file = need(&server.token_file, "--token-file", "BALLAST_TOKEN_FILE")?;
        Ok(Client::new(&server.url, &ca, &token_file)?)
    }

    /// A client for these controllers.
    pub(crate) fn new(urls: &[String], ca: &Path, token_file: &Path) -> Result<Client> {
        let pem =
            std::fs::read(ca).with_context(|| format!("the authority's certificate {}", ca.display()))?;
        let root = Certificate::from_pem(&pem)
            .with_context(|| format!("the authority's certificate {}", ca.display()))?;
        let token = std::fs::read_to_string(token_file)
            .with_context(|| format!("the token {}", token_file.display()))?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(ANSWER_MAX))
            .build();
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_string()).collect();
        Ok(Client { agent: Agent::new_with_config(config), urls, token: token.trim().to_string() })
    }

    /// Reads a document.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.ask(|url| {
            let request = self.agent.get(format!("{url}{path}"));
            answer_of(request.header("Authorization", format!("Bearer {}", self.token)).call()?)
        })?;
        answer.document()
    }

    /// Reads a text as it is.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, Failure> {
        let answer = self.ask(|url| {
            let request = self.agent.get(format!("{url}{path}"));
            answer_of(request.header("Authorization", format!("Bearer {}", self.token)).call()?)
        })?;
        if answer.status >= 400 {
            return Err(failure_of(&answer.problem()?));
        }
        let unexpected = |_| Failure::new(exit::NO, "the controller's answer is not UTF-8");
        String::from_utf8(answer.body).map_err(unexpected)
    }

    /// Puts a body. Asked again at another controller it takes effect once: it carries a key of its own.
    pub(crate) fn put(&self, path: &str, put: &Put<'_>) -> Result<Answer, Failure> {
        let mut key = [0; 16];
        SystemRandom::new()
            .fill(&mut key)
            .map_err(|_| Failure::new(exit::NO, "this system gives no randomness"))?;
        let key = blake3::hash(&key).to_hex();
        self.ask(|url| {
            let mut request = self
                .agent
                .put(format!("{url}{path}"))
                .header("Authorization", format!("Bearer {}", self.token))
                .header("Content-Type", "application/yaml")
                .header("Idempotency-Key", key.as_str());
            if let Some(revision) = put.if_match {
                request = request.header("If-Match", format!("\"{revision}\""));
            }
            if let Some(overrides) = &put.overrides {
                request = request.header("Ballast-Override", overrides);
            }
            answer_of(request.send(put.body)?)
        })
    }

    /// Asks one controller after the other, again and again for a while: a leader may just be elected.
    fn ask(&self, ask: impl Fn(&str) -> Result<Answer, ureq::Error>) -> Result<Answer, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut unavailable = None;
            let mut words = Vec::new();
            for url in &self.urls {
                match ask(url) {
                    Ok(answer) if answer.status == 503 => unavailable = Some(answer),
                    Ok(answer) => return Ok(answer),
                    Err(error) => words.push(format!("{url}: {error}")),
                }
            }
            if Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
            } else if let Some(answer) = unavailable {
                return Ok(answer);
            } else {
                let message = format!(
                    "no controller answers; hosts keep forwarding what they hold\n  {}",
                    words.join("\n  ")
                );
                return Err(Failure::new(exit::UNREACHABLE, message));
            }
        }
    }

    /// The cluster's status.
    pub(crate) fn status(&self) -> Result<Status, Failure> {
        self.get("/v1/status")
    }
}

fn answer_of(mut response: Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec()?;
    Ok(Answer { status, body })
}

impl Answer {
    /// The document of a good answer; a problem becomes a failure with its exit code.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.status >= 400 {
            return Err(failure_of(&self.problem()?));
        }
        let unexpected =
            |error| Failure::new(exit::NO, format!("the controller's answer cannot be read: {error}"));
        serde_json::from_slice(&self.body).map_err(unexpected)
    }

    /// The problem of a bad answer.
    pub(crate) fn problem(&self) -> Result<Problem, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let text = String::from_utf8_lossy(&self.body);
            Failure::new(
                exit::UNREACHABLE,
                format!("this is no Ballast controller (HTTP {}): {text}", self.status),
            )
        })
    }
}

/// The exit code and the words of a problem.
pub(crate) fn failure_of(problem: &Problem) -> Failure {
    let code = match problem.code.as_str() {
        "guard_refused" | "bad_override" => exit::GUARD,
        "stale_revision" => exit::STALE,
        "no_leader" | "ending" | "outvoted" | "outcome_unknown" | "timeout" => exit::UNREACHABLE,
        _ => exit::NO,
    };
    Failure::new(code, format!("{}: {}", problem.title, problem.detail))
}

/// Percent-encodes a query's value (RFC 3986).
pub(crate) fn encoded(value: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    value
        .bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn query_values_are_encoded() {
        assert_eq!(super::encoded("new rack, 50% ü"), "new%20rack%2C%2050%25%20%C3%BC");
    }
}
