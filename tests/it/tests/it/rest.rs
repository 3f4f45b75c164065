//! The REST interface of a real controller process, asked as a client asks: over TLS, with a token.

use anyhow::{Context, Result, anyhow, ensure};
use it::bed::{PATIENCE, binary, wait};
use lab::certificates::Authority;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use wire::overrides::Override;

/// Two nodes with prefixes; nobody runs an agent for them, so a change with both waits for acknowledgements.
const PAIR: &str = r#"version: 1
name: pair
nodes:
  a: { prefixes: [10.1.0.0/24] }
  b: { prefixes: [10.2.0.0/24] }
links:
  - { endpoints: ["a:eth1", "b:eth1"] }
"#;
/// The same network without what it is for.
const GUTTED: &str = r#"version: 1
name: pair
nodes: { a: {}, b: {} }
links:
  - { endpoints: ["a:eth1", "b:eth1"] }
"#;

/// One controller, a cluster of its own.
struct Controller {
    folder: tempfile::TempDir,
    ports: [u16; 3],
    process: Child,
    agent: Agent,
}

/// What came back.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The problem document of a refusal, whose status must be this.
    fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
        problem
    }
}

impl Controller {
    fn start() -> Result<Controller> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new("rest test")?;
        authority.write(folder.path())?;
        authority.controller(1, &[Ipv4Addr::LOCALHOST.into()], folder.path())?;
        let ports = free_ports()?;
        let process = spawn(folder.path(), ports)?;
        let pem = std::fs::read(folder.path().join("ca.pem"))?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&pem)?]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(50)))
            .build();
        let controller = Controller { folder, ports, process, agent: Agent::new_with_config(config) };
        controller.wait_ready()?;
        Ok(controller)
    }

    fn wait_ready(&self) -> Result<()> {
        wait("a ready controller", PATIENCE, || {
            let answer = self.agent.get(self.url("/readyz")).call()?;
            Ok(answer.status().as_u16() == 200)
        })
    }

    /// Kills the process, as a crash does, and starts it again on the same folder.
    fn crash_and_restart(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = spawn(self.folder.path(), self.ports)?;
        self.wait_ready()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[2]).into()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address())
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.path("token")).unwrap().trim().to_string()
    }

    /// Asks with exactly these headers.
    fn bare(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body)?)?;
        let text = response.body_mut().read_to_string()?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), text })
    }

    /// Asks with the token and these headers.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token());
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend(headers);
        self.bare(method, path, &all, body.as_bytes()).unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    fn put(&self, query: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.ask("PUT", &format!("/v1/topology{query}"), headers, body)
    }

    fn revision(&self) -> Value {
        self.get("/v1/status").json()["revision"].clone()
    }

    fn changes(&self) -> usize {
        self.get("/v1/changes").json()["changes"].as_array().unwrap().len()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            eprintln!("the controller's log:\n{log}");
        }
    }
}

/// Three ports that were free just now, held together so that they differ.
fn free_ports() -> Result<[u16; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    let port = |listener: &TcpListener| Ok::<u16, std::io::Error>(listener.local_addr()?.port());
    Ok([port(&held[0])?, port(&held[1])?, port(&held[2])?])
}

fn spawn(folder: &Path, [peers, agents, rest]: [u16; 3]) -> Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(binary("ballast-controller")?);
    command.args(["--id", "1", "--cluster", "rest-test", "--peers", &format!("1=127.0.0.1:{peers}")]);
    for (flag, port) in [("--listen-peers", peers), ("--listen-agents", agents), ("--listen-rest", rest)] {
        command.args([flag, &format!("127.0.0.1:{port}")]);
    }
    let files = [
        ("--data", "data"),
        ("--ca", "ca.pem"),
        ("--cert", "c1.pem"),
        ("--key", "c1.key"),
        ("--token-file", "token"),
        ("--operator-key", "operator.key"),
    ];
    for (flag, name) in files {
        command.arg(flag).arg(folder.join(name));
    }
    command.stdin(Stdio::null()).stderr(log).spawn().context("ballast-controller")
}

/// The Ballast-Override header, signed by the key in a file.
fn signed(key: &Path, guards: &[&str], revision: u64, topology: &str, reason: &str) -> Result<String> {
    let der = PrivatePkcs8KeyDer::from_pem_file(key)?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
        .map_err(|error| anyhow!("{}: {error}", key.display()))?;
    signed_by(&pair, guards, revision, topology, reason)
}

fn signed_by(
    pair: &Ed25519KeyPair,
    guards: &[&str],
    revision: u64,
    topology: &str,
    reason: &str,
) -> Result<String> {
    let digest = topology_digest(topology);
    let word = Override {
        guards: guards.iter().map(|guard| (*guard).to_string()).collect(),
        revision,
        topology_digest: digest.0,
        reason: reason.to_string(),
        signature: Vec::new(),
    };
    let signature = pair.sign(&word.signed_bytes());
    let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(word.guards.is_sorted(), "guards are signed sorted");
    let document = json!({
        "guards": word.guards, "revision": revision, "topology_digest": digest.to_string(),
        "reason": reason, "signature": hex,
    });
    Ok(document.to_string())
}

fn topology_digest(topology: &str) -> plan::Digest {
    plan::Digest(*blake3::hash(topology.as_bytes()).as_bytes())
}

#[test]
fn nobody_without_the_token_learns_anything() {
    let controller = Controller::start().unwrap();
    assert_eq!(controller.put("", &[], PAIR).status, 202);
    let document = controller.get("/openapi.json");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let committed = std::fs::read_to_string(committed).unwrap();
    assert_eq!(document.text.trim_end(), committed.trim_end(), "docs/openapi.json is what is served");

    let paths = document.json()["paths"].as_object().unwrap().clone();
    let mut asked = 0;
    let others = ["/openapi.json", "/v1/nothing", "/"].map(|path| (path.to_string(), "get".to_string()));
    let offered = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
    });
    for (path, method) in offered.chain(others) {
        let path = path.replace("{name}", "a").replace("{number}", "1");
        for shown in [None, Some("Bearer 0123456789abcdef"), Some("Basic b3A6cHc="), Some("Bearer ")] {
            let headers: Vec<_> = shown.map(|value| ("Authorization", value)).into_iter().collect();
            let answer = controller.bare(&method.to_uppercase(), &path, &headers, b"").unwrap();
            let problem = answer.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
            assert!(answer.header("etag").is_empty());
            let keys: Vec<&String> = problem.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["code", "detail", "status", "title", "type"], "{method} {path}");
            assert!(!answer.text.contains(&controller.token()) && !answer.text.contains("pair"));
            asked += 1;
        }
    }
    assert!(asked >= 4 * 14, "the document names all paths: {asked}");
    assert_eq!(controller.changes(), 1, "nothing was written");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(controller.bare("GET", path, &[], b"").unwrap().status, 200, "{path} is open");
    }
}

#[test]
fn a_stale_file_changes_nothing() {
    let controller = Controller::start().unwrap();
    controller.get("/v1/topology").problem(404, "not_found");
    assert_eq!(controller.put("", &[("If-Match", "\"0\"")], PAIR).status, 202);
    let topology = controller.get("/v1/topology");
    assert_eq!((topology.status, topology.header("etag"), topology.text.as_str()), (200, "\"1\"", PAIR));

    let newer = PAIR.replace("10.2.0.0/24", "10.2.0.0/24, 10.4.0.0/24");
    let second = controller.put("", &[("If-Match", "\"1\"")], &newer);
    assert_eq!((second.status, second.header("location")), (202, "/v1/changes/2"));
    let stale = controller.put("", &[("If-Match", "\"1\"")], PAIR).problem(412, "stale_revision");
    assert_eq!(stale["revision"], 2, "the head revision is told: {stale}");
    let after = controller.get("/v1/topology");
    assert_eq!((after.header("etag"), after.text.as_str()), ("\"2\"", newer.as_str()));
    assert_eq!(controller.changes(), 2);
    controller.put("", &[("If-Match", "two")], PAIR).problem(400, "bad_request");
}

#[test]
fn a_dry_run_plans_and_writes_nothing() {
    let controller = Controller::start().unwrap();
    let plan = controller.put("?dry_run=true", &[], PAIR);
    assert_eq!(plan.status, 200, "{}", plan.text);
    let plan = plan.json();
    assert_eq!(plan["schema"], "ballast.plan/v1");
    let names: Vec<&Value> = plan["hosts"].as_array().unwrap().iter().map(|host| &host["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((controller.revision(), controller.changes()), (json!(0), 0));
    controller.get("/v1/topology").problem(404, "not_found");
}

#[test]
fn a_bad_topology_is_told_with_places() {
    let controller = Controller::start().unwrap();
    let bad = PAIR.replace("\"b:eth1\"", "\"c:eth1\"");
    let problem = controller.put("?file=net.yaml", &[], &bad).problem(422, "invalid_topology");
    let first = &problem["diagnostics"][0];
    assert_eq!(
        (&first["file"], &first["line"], &first["severity"]),
        (&json!("net.yaml"), &json!(7), &json!("error"))
    );
    assert!(first["column"].as_u64().unwrap() > 1 && !first["help"].as_str().unwrap().is_empty(), "{first}");
    for empty in ["", "---\n", "{}"] {
        let problem = controller.put("", &[], empty).problem(422, "invalid_topology");
        assert!(!problem["diagnostics"].as_array().unwrap().is_empty(), "{empty:?}: {problem}");
    }
    assert_eq!((controller.revision(), controller.changes()), (json!(0), 0));
}

#[test]
fn a_guard_refuses_until_the_operators_word_for_just_this() {
    let controller = Controller::start().unwrap();
    assert_eq!(controller.put("", &[], PAIR).status, 202);
    let guard = controller.put("", &[], GUTTED).problem(409, "guard_refused")["guard"].clone();
    assert_eq!(guard, json!({ "name": "max_prefixes_lost", "value": 2, "limit": 0, "ok": false }));
    assert_eq!(controller.revision(), 1);

    let guards = ["every_prefix_gone", "max_prefixes_lost"];
    let key = controller.path("operator.key");
    let stranger = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let why = "?reason=moving%20out";
    let put = |word: &str| controller.put(why, &[("Ballast-Override", word)], GUTTED);
    let word = |guards: &[&str], revision, file| signed(&key, guards, revision, file, "moving out").unwrap();
    let refused = [
        ("signature", signed_by(&stranger, &guards, 2, GUTTED, "moving out").unwrap()),
        ("revision", word(&guards, 1, GUTTED)),
        ("file", word(&guards, 2, PAIR)),
        ("reason", signed(&key, &guards, 2, GUTTED, "no reason").unwrap()),
    ];
    for (what, word) in refused {
        let problem = put(&word).problem(403, "bad_override");
        assert!(problem["detail"].as_str().unwrap().contains(what), "{what}: {problem}");
        assert_eq!(controller.revision(), 1, "{what}");
    }
    let partial = word(&guards[1..], 2, GUTTED);
    let answer = put(&partial);
    let problem = answer.problem(409, "guard_refused");
    assert_eq!(problem["guard"]["name"], "every_prefix_gone", "a word counts for the guards that it names");
    put("because").problem(400, "bad_request");

    let word = word(&guards, 2, GUTTED);
    let accepted = put(&word);
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let change = controller.get("/v1/changes/2").json();
    assert_eq!(change["overridden"], json!(guards), "{change}");
    assert_eq!(controller.revision(), 2);

    assert_eq!(controller.put("", &[], PAIR).status, 202);
    put(&word).problem(403, "bad_override");
    assert_eq!(controller.revision(), 3, "a word is used once");
}

#[test]
fn what_cannot_be_taken_is_a_problem_document() {
    let controller = Controller::start().unwrap();
    let large = format!("{PAIR}# {}\n", "x".repeat(topology::FILE_BYTES_MAX));
    controller.put("", &[], &large).problem(413, "too_large");
    controller.put("", &[("Content-Type", "text/html")], PAIR).problem(415, "unsupported_media_type");
    controller.get("/v1/nothing").problem(404, "not_found");
    controller.get("/v1/changes/99").problem(404, "not_found");
    controller.get("/v1/changes/none").problem(404, "not_found");
    controller.get("/v1/hosts/nobody").problem(404, "not_found");
    controller.get("/v1/hosts/nobody/program").problem(404, "not_found");
    controller.get("/v1/paths?from=a").problem(400, "bad_request");
    controller.ask("POST", "/v1/topology", &[], PAIR).problem(405, "method_not_allowed");
    controller.ask("DELETE", "/v1/status", &[], "").problem(405, "method_not_allowed");
    controller.get("/v1/hosts/%ff").problem(400, "bad_request");
    controller.put("?dry_run=perhaps", &[], PAIR).problem(400, "bad_request");
    assert_eq!(controller.changes(), 0);
}

#[test]
fn a_key_makes_a_write_take_effect_once() {
    let controller = Controller::start().unwrap();
    let key = [("Idempotency-Key", "night-shift-7")];
    let first = controller.put("", &key, PAIR);
    let again = controller.put("", &key, PAIR);
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.json()["change"], again.json()["change"]);
    assert_eq!((controller.revision(), controller.changes()), (json!(1), 1));
    let other = PAIR.replace("10.2.0.0/24", "10.2.0.0/24, 10.4.0.0/24");
    controller.put("", &key, &other).problem(400, "bad_request");
    controller.put("", &[("Idempotency-Key", "n\u{e4}chtlich")], &other).problem(400, "bad_request");
    assert_eq!(controller.revision(), 1);
}

#[test]
fn json_is_taken_and_done_is_waited_for() {
    let controller = Controller::start().unwrap();
    let text = json!({ "version": 1, "name": "alone", "nodes": {} }).to_string();
    let alone = json!({ "version": 1, "name": "alone", "nodes": { "a": {} } }).to_string();
    let json = [("Content-Type", "application/json")];
    controller.put("", &json, &text).problem(422, "invalid_topology");
    let accepted = controller.put("", &json, &alone);
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    // No agent acknowledges: the wait ends by its bound, with the change as it is.
    let waited = controller.get("/v1/changes/1?wait=done&timeout_s=1").json();
    assert!(!["done", "halted"].contains(&waited["state"].as_str().unwrap()), "{waited}");
    // What changes no program is done with no step.
    let same = controller.put("?wait=done&timeout_s=20", &json, &format!("{alone}\n"));
    assert_eq!((same.status, &same.json()["state"]), (202, &json!("done")), "{}", same.text);
}

#[test]
fn the_command_explains_what_the_controllers_accepted() {
    let controller = Controller::start().unwrap();
    let explain = || {
        let mut command = Command::new(binary("ballast").unwrap());
        command.args(["explain", "a", "10.2.0.1", "--json", "--url", &controller.url("")]);
        command.arg("--ca").arg(controller.path("ca.pem"));
        command.arg("--token-file").arg(controller.path("token")).output().unwrap()
    };
    let nothing = explain();
    assert_eq!(nothing.status.code(), Some(1), "{}", String::from_utf8_lossy(&nothing.stderr));
    assert_eq!(controller.put("", &[], PAIR).status, 202);
    let found = explain();
    let text = String::from_utf8_lossy(&found.stdout);
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&found.stderr)));
    assert_eq!(document["schema"], "ballast.explain/v1");
    assert_eq!((&document["class"], &document["next_hops"][0]["via"]), (&json!("b"), &json!("b")));
    assert_eq!((&document["origin"]["line"], &document["origin"]["change"]), (&json!(5), &json!(1)));
}

#[test]
fn revision_and_history_outlive_a_crash() {
    let mut controller = Controller::start().unwrap();
    assert_eq!(controller.put("?reason=first&author=ada", &[], PAIR).status, 202);
    let newer = PAIR.replace("10.2.0.0/24", "10.2.0.0/24, 10.4.0.0/24");
    assert_eq!(controller.put("?reason=second", &[], &newer).status, 202);
    let token = controller.token();
    controller.crash_and_restart().unwrap();
    assert_eq!(controller.token(), token);
    let topology = controller.get("/v1/topology");
    assert_eq!((topology.header("etag"), topology.text.as_str()), ("\"2\"", newer.as_str()));
    let changes = controller.get("/v1/changes").json();
    let told: Vec<(&Value, &Value)> = changes["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (&change["reason"], &change["author"]))
        .collect();
    assert_eq!(told, [(&json!("second"), &json!("operator")), (&json!("first"), &json!("ada"))]);
    assert_eq!(controller.put("", &[("If-Match", "\"2\"")], PAIR).status, 409, "guards remember too");
}

#[test]
fn only_tls_1_3_is_spoken() {
    use std::io::{Read, Write};
    let controller = Controller::start().unwrap();
    let mut plain = TcpStream::connect(controller.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    // A reset is a refusal too.
    let _ = plain.read_to_end(&mut bytes);
    assert!(!String::from_utf8_lossy(&bytes).contains("HTTP/"), "plain HTTP is refused");

    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: no openssl here to speak TLS 1.2 with");
        return;
    }
    let handshake = |version: &str| {
        let (address, ca) = (controller.address().to_string(), controller.path("ca.pem"));
        Command::new("openssl")
            .args(["s_client", version, "-verify_return_error", "-connect", &address, "-CAfile"])
            .arg(ca)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    assert!(handshake("-tls1_3").status.success());
    let old = handshake("-tls1_2");
    let words = String::from_utf8_lossy(&old.stderr).to_lowercase();
    assert!(!old.status.success() && words.contains("alert protocol version"), "{words}");
}

#[test]
fn every_problem_code_is_explained() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rest.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let (code, status) = (cells.next()?.trim_matches('`'), cells.next()?.parse::<u16>().ok()?);
        Some((code, status))
    });
    let mut told: Vec<(&str, u16)> = rows.collect();
    told.sort_unstable();
    assert_eq!(told, wire::rest::PROBLEMS.map(|(code, status, _)| (code, status)));
}
