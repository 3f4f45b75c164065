//! The REST interface, version 1: HTTPS, a bearer token, problem documents. Asks the core; decides nothing. See docs/rest.md.

use crate::core::{ReadAnswer, ReadRequest, Reply, RequestBody};
use crate::io::agents::Agents;
use crate::io::metrics::{render, resident_bytes};
use crate::io::problem::{of_answer, respond};
use crate::io::runtime::{AskError, CoreHandle};
use crate::io::secrets::Token;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::overrides::Override;
use wire::peer::{ClientBody, ClientRequest};
use wire::rest::{self, Problem};

/// Largest body.
pub const BODY_BYTES_MAX: usize = topology::FILE_BYTES_MAX;
/// A read is answered from memory.
const READ_MAX: Duration = Duration::from_secs(5);
/// A write waits for a leader and for a majority's disks.
const WRITE_MAX: Duration = Duration::from_secs(40);
/// `?wait=done` without `timeout_s`.
const WAIT_DEFAULT_S: u64 = 60;
const WAIT_MAX_S: u64 = 3_600;
/// Between two looks at a change that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Carries the operator's signed word, as JSON.
const OVERRIDE_HEADER: HeaderName = HeaderName::from_static("ballast-override");
const IDEMPOTENCY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// What handlers need.
#[derive(Clone)]
pub struct Web {
    /// The way to the core.
    pub core: CoreHandle,
    /// What clients must show.
    pub token: Token,
    /// Open agents' streams, for metrics.
    pub agents: Agents,
    /// Metrics.
    pub metrics: PrometheusHandle,
}

/// The document's frame.
#[derive(OpenApi)]
#[openapi(
    info(title = "Ballast", description = "Topologies in, programs on hosts out. See docs/rest.md."),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Frame;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", scheme);
    }
}

/// The OpenAPI 3.1 document, as committed at docs/openapi.json.
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    document.to_pretty_json().unwrap_or_default() + "\n"
}

fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(Frame::openapi())
        .routes(routes!(get_topology, put_topology))
        .routes(routes!(changes))
        .routes(routes!(change))
        .routes(routes!(status))
        .routes(routes!(hosts))
        .routes(routes!(host))
        .routes(routes!(program))
        .routes(routes!(links))
        .routes(routes!(paths))
        .routes(routes!(metrics_text))
}

/// All routes with their checks.
pub fn router(web: Web) -> Router {
    let (guarded, document) = routes().split_for_parts();
    let document: Arc<str> = document.to_pretty_json().unwrap_or_default().into();
    let guarded = guarded
        .route("/openapi.json", axum::routing::get(move || json_text(document.clone())))
        .fallback(|| async { respond(&Problem::new("not_found", "see /openapi.json for what is offered")) })
        .method_not_allowed_fallback(|| async {
            respond(&Problem::new("method_not_allowed", "see /openapi.json for what is offered"))
        })
        .layer(from_fn_with_state(web.clone(), authorize));
    let open = Router::new()
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .route("/readyz", axum::routing::get(ready));
    open.merge(guarded).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(from_fn(counted)).with_state(web)
}

async fn json_text(text: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}

/// Nobody without the token learns anything, not even which paths exist.
async fn authorize(State(web): State<Web>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match shown.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if web.token.matches(token.trim()) => next.run(request).await,
        _ => respond(&Problem::new(
            "unauthorized",
            "send `Authorization: Bearer TOKEN`; the token is in the controller's token file",
        )),
    }
}

async fn counted(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let class = format!("{}xx", response.status().as_u16() / 100);
    metrics::counter!("ballast_rest_requests_total", "status" => class).increment(1);
    metrics::histogram!("ballast_rest_request_seconds").record(began.elapsed().as_secs_f64());
    response
}

async fn ready(State(web): State<Web>) -> Response {
    match read(&web, ReadRequest::Status).await {
        Ok(ReadAnswer::Status(status)) if status.leader.is_some() && status.serving => {
            "ready\n".into_response()
        }
        Ok(ReadAnswer::Status(status)) => {
            let why = if status.serving { "no leader is known" } else { "this controller serves no agents" };
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the core does not answer\n").into_response(),
    }
}

/// What is taken from a request's line; what does not fit is a problem document as everything else.
struct Checked<T>(T);

impl<S: Sync, T: FromRequestParts<S, Rejection: Display>> FromRequestParts<S> for Checked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let taken = T::from_request_parts(parts, state).await;
        taken.map(Checked).map_err(|why| respond(&Problem::new("bad_request", why.to_string())))
    }
}

// ---- asking the core

async fn read(web: &Web, request: ReadRequest) -> Result<ReadAnswer, Response> {
    match web.core.ask(RequestBody::Read(request), READ_MAX).await {
        Ok(Reply::Read(ReadAnswer::NotFound(why))) => Err(respond(&Problem::new("not_found", why))),
        Ok(Reply::Read(answer)) => Ok(answer),
        Ok(Reply::Write(_)) => Err(respond(&Problem::new("internal", "the core mistook a read for a write"))),
        Err(AskError::Ending) => Err(respond(&Problem::new("ending", "ask another controller"))),
        Err(AskError::Unknown) => {
            Err(respond(&Problem::new("timeout", "the controller is overloaded: ask another one")))
        }
    }
}

/// Asks and shows the answer as JSON; `take` picks the document out of the answer.
async fn show<T: Serialize>(
    web: &Web,
    request: ReadRequest,
    take: impl FnOnce(ReadAnswer) -> Option<T>,
) -> Response {
    match read(web, request).await {
        Err(response) => response,
        Ok(answer) => match take(answer) {
            Some(document) => Json(document).into_response(),
            None => respond(&Problem::new("internal", "the core gave another answer")),
        },
    }
}

// ---- topology

/// How a topology is put.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PutParams {
    /// Why; shown in the history.
    #[serde(default)]
    reason: String,
    /// Name of the file, for places of problems.
    #[serde(default = "default_file")]
    file: String,
    /// Who; the default is `operator`.
    #[serde(default = "default_author")]
    author: String,
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
    /// `done`: answer when the change is done, halted or rolled back.
    wait: Option<String>,
    /// Bound of `wait`, in seconds.
    timeout_s: Option<u64>,
}

fn default_file() -> String {
    "topology.yaml".to_string()
}

fn default_author() -> String {
    "operator".to_string()
}

/// An override as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideDocument {
    guards: Vec<String>,
    revision: u64,
    topology_digest: hexadecimal::Hex32,
    reason: String,
    signature: String,
}

/// 32 bytes as 64 hexadecimal digits.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, de::Error};

    #[derive(Debug)]
    pub(super) struct Hex32(pub(super) [u8; 32]);

    impl<'de> Deserialize<'de> for Hex32 {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hex32, D::Error> {
            let text = String::deserialize(from)?;
            text.parse::<plan::Digest>().map(|digest| Hex32(digest.0)).map_err(D::Error::custom)
        }
    }
}

fn override_of(headers: &HeaderMap) -> Result<Option<Override>, String> {
    let Some(value) = headers.get(OVERRIDE_HEADER) else { return Ok(None) };
    let text = value.to_str().map_err(|_| "the Ballast-Override header is not ASCII".to_string())?;
    let document: OverrideDocument =
        serde_json::from_str(text).map_err(|error| format!("the Ballast-Override header: {error}"))?;
    let digits = document.signature;
    let signature: Option<Vec<u8>> = (0..digits.len() / 2)
        .map(|at| digits.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let signature = signature.ok_or("the Ballast-Override header: the signature is not hexadecimal")?;
    let mut guards = document.guards;
    guards.sort();
    guards.dedup();
    Ok(Some(Override {
        guards,
        revision: document.revision,
        topology_digest: document.topology_digest.0,
        reason: document.reason,
        signature,
    }))
}

/// `If-Match: "7"`; `*` and an absent header demand nothing.
fn expected_revision(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let revision = text.trim_start_matches("W/").trim_matches('"').parse();
    revision
        .map(Some)
        .map_err(|_| format!("If-Match must be the ETag of /v1/topology, for example \"7\"; it is {text}"))
}

/// A key that cannot be read is refused: without it a request that is sent again would count twice.
fn idempotency_key(headers: &HeaderMap) -> Result<String, String> {
    let Some(value) = headers.get(IDEMPOTENCY_HEADER) else { return Ok(String::new()) };
    value.to_str().map(str::to_string).map_err(|_| "the Idempotency-Key header is not ASCII".to_string())
}

/// The newest topology, as it was sent; its revision is the ETag.
#[utoipa::path(get, path = "/v1/topology", responses(
    (status = 200, description = "The file", content_type = "application/yaml", body = String),
    (status = 404, description = "No topology yet", body = rest::Problem, content_type = "application/problem+json"),
))]
async fn get_topology(State(web): State<Web>) -> Response {
    match read(&web, ReadRequest::Topology).await {
        Ok(ReadAnswer::Topology { bytes, revision, .. }) => {
            let headers = [
                (header::CONTENT_TYPE, "application/yaml".to_string()),
                (header::ETAG, format!("\"{revision}\"")),
            ];
            (headers, bytes.to_vec()).into_response()
        }
        Ok(_) => respond(&Problem::new("internal", "the core gave another answer")),
        Err(response) => response,
    }
}

/// Makes a topology (YAML or JSON) the newest intent. 202 with the change; `?dry_run=true` answers 200 with a plan.
#[utoipa::path(put, path = "/v1/topology", params(PutParams), request_body(content = String, content_type = "application/yaml"), responses(
    (status = 202, description = "Accepted; see Location", body = rest::Change),
    (status = 200, description = "What would happen, with dry_run", body = rest::PlanDocument),
    (status = 409, description = "A guard refuses", body = rest::Problem, content_type = "application/problem+json"),
    (status = 412, description = "The network has a newer revision", body = rest::Problem, content_type = "application/problem+json"),
    (status = 422, description = "The topology is not valid", body = rest::Problem, content_type = "application/problem+json"),
    (status = 503, description = "No controller leads now", body = rest::Problem, content_type = "application/problem+json"),
))]
async fn put_topology(
    State(web): State<Web>,
    Checked(Query(params)): Checked<Query<PutParams>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return respond(&Problem::new(
                "too_large",
                format!("at most {BODY_BYTES_MAX} bytes are accepted"),
            ));
        }
        Err(rejection) => return respond(&Problem::new("bad_request", rejection.body_text())),
    };
    let media =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/yaml");
    let media = media.split(';').next().unwrap_or_default().trim();
    let known = [
        "application/yaml",
        "application/x-yaml",
        "text/yaml",
        "application/json",
        "text/plain",
        "application/octet-stream",
    ];
    if !known.contains(&media) {
        let detail = format!("send application/yaml or application/json, not {media}");
        return respond(&Problem::new("unsupported_media_type", detail));
    }
    if let Some(other) = params.wait.as_deref().filter(|wait| *wait != "done") {
        let detail = format!("wait={other}: the only thing to wait for is `done`");
        return respond(&Problem::new("bad_request", detail));
    }
    let read = expected_revision(&headers)
        .and_then(|expected| Ok((expected, override_of(&headers)?, idempotency_key(&headers)?)));
    let (expected_revision, overrides, key) = match read {
        Ok(read) => read,
        Err(why) => return respond(&Problem::new("bad_request", why)),
    };
    let request = ClientRequest {
        author: params.author,
        idempotency_key: key,
        body: ClientBody::PutTopology {
            topology: body.to_vec(),
            file: params.file,
            reason: params.reason,
            expected_revision,
            dry_run: params.dry_run,
            overrides,
        },
    };
    let answer = match web.core.ask(RequestBody::Write(request), WRITE_MAX).await {
        Ok(Reply::Write(answer)) => answer,
        Ok(Reply::Read(_)) => {
            return respond(&Problem::new("internal", "the core mistook a write for a read"));
        }
        Err(AskError::Ending) => return respond(&Problem::new("ending", "ask another controller")),
        Err(AskError::Unknown) => {
            return respond(&Problem::new(
                "outcome_unknown",
                "send the request again with the same Idempotency-Key: it takes effect once",
            ));
        }
    };
    match answer.code.as_str() {
        "accepted" => accepted(&web, answer.change, params.wait.as_deref(), params.timeout_s).await,
        "dry_run" => ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response(),
        _ => respond(&of_answer(answer)),
    }
}

async fn accepted(web: &Web, number: u64, wait: Option<&str>, timeout_s: Option<u64>) -> Response {
    let change = match wait {
        Some("done") => wait_for(web, number, timeout_s).await,
        _ => read_change(web, number).await,
    };
    match change {
        Ok(change) => {
            let location = [(header::LOCATION, format!("/v1/changes/{number}"))];
            (StatusCode::ACCEPTED, location, Json(change)).into_response()
        }
        Err(response) => response,
    }
}

// ---- changes

async fn read_change(web: &Web, number: u64) -> Result<rest::Change, Response> {
    match read(web, ReadRequest::Change(number)).await? {
        ReadAnswer::Change(change) => Ok(change),
        _ => Err(respond(&Problem::new("internal", "the core gave another answer"))),
    }
}

/// The change once it has ended, or as it is when the time is over.
async fn wait_for(web: &Web, number: u64, timeout_s: Option<u64>) -> Result<rest::Change, Response> {
    let deadline = Instant::now() + Duration::from_secs(timeout_s.unwrap_or(WAIT_DEFAULT_S).min(WAIT_MAX_S));
    loop {
        let change = read_change(web, number).await?;
        if ["done", "halted", "rolled_back"].contains(&change.state.as_str()) || Instant::now() >= deadline {
            return Ok(change);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct WaitParams {
    /// `done`: answer when the change is done, halted or rolled back.
    wait: Option<String>,
    /// Bound of `wait`, in seconds.
    timeout_s: Option<u64>,
}

/// All changes that are kept, newest first.
#[utoipa::path(get, path = "/v1/changes", responses((status = 200, body = rest::Changes)))]
async fn changes(State(web): State<Web>) -> Response {
    let take = |answer| if let ReadAnswer::Changes(document) = answer { Some(document) } else { None };
    show(&web, ReadRequest::Changes, take).await
}

/// One change.
#[utoipa::path(get, path = "/v1/changes/{number}", params(("number" = u64, Path), WaitParams), responses(
    (status = 200, body = rest::Change),
    (status = 404, body = rest::Problem, content_type = "application/problem+json"),
))]
async fn change(
    State(web): State<Web>,
    Checked(Path(number)): Checked<Path<String>>,
    Checked(Query(params)): Checked<Query<WaitParams>>,
) -> Response {
    let Ok(number) = number.parse() else {
        return respond(&Problem::new("not_found", format!("changes have numbers; {number} is none")));
    };
    let found = match params.wait.as_deref() {
        Some("done") => wait_for(&web, number, params.timeout_s).await,
        _ => read_change(&web, number).await,
    };
    found.map_or_else(|response| response, |change| Json(change).into_response())
}

// ---- what is

/// The cluster in one document: leader, members, hosts, links, alarms.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = rest::Status)))]
async fn status(State(web): State<Web>) -> Response {
    let take = |answer| match answer {
        ReadAnswer::Status(status) => Some(rest::Status { memory_bytes: resident_bytes(), ..status }),
        _ => None,
    };
    show(&web, ReadRequest::Status, take).await
}

/// All hosts.
#[utoipa::path(get, path = "/v1/hosts", responses((status = 200, body = rest::Hosts)))]
async fn hosts(State(web): State<Web>) -> Response {
    let take = |answer| if let ReadAnswer::Hosts(document) = answer { Some(document) } else { None };
    show(&web, ReadRequest::Hosts, take).await
}

/// One host.
#[utoipa::path(get, path = "/v1/hosts/{name}", params(("name" = String, Path)), responses(
    (status = 200, body = rest::Host),
    (status = 404, body = rest::Problem, content_type = "application/problem+json"),
))]
async fn host(State(web): State<Web>, Checked(Path(name)): Checked<Path<String>>) -> Response {
    let take = |answer| if let ReadAnswer::Host(document) = answer { Some(document) } else { None };
    show(&web, ReadRequest::Host(name), take).await
}

/// The program that a host is assigned.
#[utoipa::path(get, path = "/v1/hosts/{name}/program", params(("name" = String, Path)), responses(
    (status = 200, body = rest::ProgramDocument),
    (status = 404, body = rest::Problem, content_type = "application/problem+json"),
))]
async fn program(State(web): State<Web>, Checked(Path(name)): Checked<Path<String>>) -> Response {
    let take = |answer| if let ReadAnswer::Program(document) = answer { Some(document) } else { None };
    show(&web, ReadRequest::Program(name), take).await
}

/// All links.
#[utoipa::path(get, path = "/v1/links", responses((status = 200, body = rest::Links)))]
async fn links(State(web): State<Web>) -> Response {
    let take = |answer| if let ReadAnswer::Links(document) = answer { Some(document) } else { None };
    show(&web, ReadRequest::Links, take).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PathParams {
    /// A node.
    #[serde(default)]
    from: String,
    /// Another node.
    #[serde(default)]
    to: String,
}

/// All equal-cost paths from one node to another, as the programs forward.
#[utoipa::path(get, path = "/v1/paths", params(PathParams), responses((status = 200, body = rest::Paths)))]
async fn paths(
    State(web): State<Web>,
    Checked(Query(PathParams { from, to })): Checked<Query<PathParams>>,
) -> Response {
    if from.is_empty() || to.is_empty() {
        return respond(&Problem::new("bad_request", "name both nodes: /v1/paths?from=A&to=B"));
    }
    let take = |answer| if let ReadAnswer::Paths(document) = answer { Some(document) } else { None };
    show(&web, ReadRequest::Paths { from, to }, take).await
}

/// Prometheus metrics.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "text/plain", body = String)))]
async fn metrics_text(State(web): State<Web>) -> Response {
    match read(&web, ReadRequest::Status).await {
        Ok(ReadAnswer::Status(status)) => {
            let text = render(&web.metrics, &status, web.agents.count());
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
        }
        Ok(_) => respond(&Problem::new("internal", "the core gave another answer")),
        Err(response) => response,
    }
}

#[cfg(test)]
mod tests;
