//! Errors of the REST interface: RFC 9457 problem documents with stable codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wire::log::GuardRecord;
use wire::peer::ClientAnswer;
use wire::rest::{Diagnostic, Guard, Problem};

/// Code -> status and title. A code that is not here is a server's error.
const CODES: [(&str, StatusCode, &str); 16] = [
    ("bad_request", StatusCode::BAD_REQUEST, "The request cannot be understood"),
    ("unauthorized", StatusCode::UNAUTHORIZED, "A valid bearer token is needed"),
    ("bad_override", StatusCode::FORBIDDEN, "The override does not count"),
    ("not_found", StatusCode::NOT_FOUND, "There is no such thing"),
    ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "This method is not offered here"),
    ("timeout", StatusCode::REQUEST_TIMEOUT, "The request took too long"),
    ("guard_refused", StatusCode::CONFLICT, "A guard refuses the change"),
    ("stale_revision", StatusCode::PRECONDITION_FAILED, "The network has a newer revision"),
    ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "This content type is not read here"),
    ("invalid_topology", StatusCode::UNPROCESSABLE_ENTITY, "The topology is not valid"),
    ("no_leader", StatusCode::SERVICE_UNAVAILABLE, "No controller leads now"),
    ("outvoted", StatusCode::SERVICE_UNAVAILABLE, "This controller was outvoted"),
    ("ending", StatusCode::SERVICE_UNAVAILABLE, "This controller is ending"),
    ("outcome_unknown", StatusCode::GATEWAY_TIMEOUT, "Whether the write took effect is not known"),
    ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The controller failed"),
];

/// A problem document.
pub fn problem(code: &str, detail: impl Into<String>) -> Problem {
    let known = CODES.iter().find(|(known, ..)| *known == code).or(CODES.last());
    let (code, status, title) = known.copied().unwrap_or(("internal", StatusCode::INTERNAL_SERVER_ERROR, ""));
    Problem {
        kind: "about:blank".to_string(),
        status: status.as_u16(),
        code: code.to_string(),
        title: title.to_string(),
        detail: detail.into(),
        guard: None,
        revision: None,
        diagnostics: Vec::new(),
    }
}

/// The problem that the core's answer to a write stands for.
pub fn of_answer(answer: ClientAnswer) -> Problem {
    let mut problem = problem(&answer.code, answer.detail);
    problem.guard =
        answer.guard.map(|GuardRecord { guard, value, limit, ok }| Guard { name: guard, value, limit, ok });
    match problem.code.as_str() {
        "stale_revision" => problem.revision = Some(answer.revision),
        "invalid_topology" => {
            problem.diagnostics = serde_json::from_slice::<Vec<Diagnostic>>(&answer.body).unwrap_or_default();
        }
        _ => {}
    }
    problem
}

/// The response of a problem.
pub fn respond(problem: &Problem) -> Response {
    metrics::counter!("ballast_rest_problems_total", "code" => problem.code.clone()).increment(1);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"ballast\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
