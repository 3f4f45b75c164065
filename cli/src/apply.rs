//! `ballast apply`: a file becomes the network's intent; the change can be watched to its end.

use crate::arguments::{Apply, Server};
use crate::client::{Client, Put, encoded, failure_of};
use crate::exit::{self, Done, Failure};
use crate::files::text_of;
use crate::output::{json, print, say};
use anyhow::{Context, Result, anyhow};
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wire::overrides::Override;
use wire::rest::{Change, Problem};

/// Between two looks at a change.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `ballast apply`.
pub(crate) fn apply(arguments: &Apply, server: &Server) -> Done {
    let client = Client::of(server)?;
    let bytes = text_of(&arguments.file)?;
    let overrides = match &arguments.key {
        Some(key) if !arguments.overrides.is_empty() => {
            let revision = client.status()?.revision + 1;
            Some(signed(&arguments.overrides, revision, &bytes, &arguments.reason, key)?)
        }
        _ => None,
    };
    let began = Instant::now();
    let put = Put { body: &bytes, if_match: arguments.if_revision, overrides };
    let path = format!(
        "/v1/topology?reason={}&file={}&author={}",
        encoded(&arguments.reason),
        encoded(&arguments.file.display().to_string()),
        encoded(&author())
    );
    let answer = client.put(&path, &put)?;
    if answer.status >= 400 {
        return refused(&answer.problem()?, arguments.format.json, began);
    }
    let mut change: Change = answer.document()?;
    if arguments.wait {
        change = watch(&client, change, Duration::from_secs(arguments.timeout))?;
    }
    if arguments.format.json {
        json(&document(&change, began));
    } else {
        print(&format!("change {}: revision {}, {}", change.change, change.revision, change.state));
        if !change.detail.is_empty() {
            say(&change.detail);
        }
        if !arguments.wait && change.state != "done" {
            say(&format!("watch it with: ballast show {}", change.change));
        }
    }
    Ok(ExitCode::from(match change.state.as_str() {
        "halted" | "rolled_back" => exit::HALTED,
        "done" => 0,
        _ if arguments.wait => exit::PARTIAL,
        _ => 0,
    }))
}

fn author() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "operator".to_string())
}

/// Follows a change to its end; a controller that dies in between does not matter.
pub(crate) fn watch(client: &Client, change: Change, limit: Duration) -> Result<Change, Failure> {
    let deadline = Instant::now() + limit;
    let mut change = change;
    let mut told = String::new();
    loop {
        let waiting = change.hosts.iter().filter(|host| host.state != "acknowledged").count();
        let now = format!(
            "change {}: {} step {} of {}, {} of {} hosts acknowledged",
            change.change,
            change.state,
            change.step,
            change.steps.len(),
            change.hosts.len() - waiting,
            change.hosts.len()
        );
        if now != told {
            say(&now);
            told = now;
        }
        if ["done", "halted", "rolled_back"].contains(&change.state.as_str()) {
            return Ok(change);
        }
        if Instant::now() > deadline {
            let slow = change.hosts.iter().filter(|host| host.state != "acknowledged").map(|host| {
                if host.detail.is_empty() {
                    host.name.clone()
                } else {
                    format!("{} ({})", host.name, host.detail)
                }
            });
            say(&format!("not acknowledged in time: {}", slow.collect::<Vec<_>>().join(", ")));
            return Ok(change);
        }
        std::thread::sleep(LOOK_EVERY);
        change = client.get(&format!("/v1/changes/{}", change.change))?;
    }
}

fn document(change: &Change, began: Instant) -> Value {
    json!({
        "schema": "ballast.apply/v1",
        "change": change.change,
        "revision": change.revision,
        "generation": change.generation,
        "state": change.state,
        "detail": change.detail,
        "guard": null,
        "elapsed_ms": elapsed_ms(began),
        "writes": change.writes,
    })
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn refused(problem: &Problem, as_json: bool, began: Instant) -> Done {
    for diagnostic in &problem.diagnostics {
        let place = format!("{}:{}:{}", diagnostic.file, diagnostic.line, diagnostic.column);
        say(&format!(
            "{}[{}] {place}: {}\n  = help: {}",
            diagnostic.severity, diagnostic.code, diagnostic.message, diagnostic.help
        ));
    }
    if as_json {
        let guard = problem.guard.as_ref();
        json(&json!({
            "schema": "ballast.apply/v1",
            "change": null,
            "revision": problem.revision,
            "generation": null,
            "state": "refused",
            "code": problem.code,
            "detail": problem.detail,
            "guard": guard.map(|guard| json!({"name": guard.name, "value": guard.value, "limit": guard.limit})),
            "elapsed_ms": elapsed_ms(began),
            "writes": 0,
        }));
    }
    Err(failure_of(problem))
}

/// The operator's signed word, as the header's JSON: ASCII alone.
fn signed(guards: &[String], revision: u64, topology: &[u8], reason: &str, key: &Path) -> Result<String> {
    let cure = || format!("{}: give the operator's Ed25519 key in PKCS#8, PEM", key.display());
    let der =
        PrivatePkcs8KeyDer::from_pem_file(key).map_err(|error| anyhow!("{error}")).with_context(cure)?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
        .map_err(|error| anyhow!("{error}"))
        .with_context(cure)?;
    let mut guards = guards.to_vec();
    guards.sort();
    guards.dedup();
    let topology_digest = *blake3::hash(topology).as_bytes();
    let mut word =
        Override { guards, revision, topology_digest, reason: reason.to_string(), signature: Vec::new() };
    word.signature = pair.sign(&word.signed_bytes()).as_ref().to_vec();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = json!({
        "guards": word.guards,
        "revision": word.revision,
        "topology_digest": hex(&word.topology_digest),
        "reason": word.reason,
        "signature": hex(&word.signature),
    })
    .to_string();
    // JSON escapes of what is not ASCII, two for what lies beyond the basic plane.
    let mut ascii = String::new();
    for character in text.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}
