//! Errors of the REST interface: RFC 9457 problem documents with the stable codes of [`wire::rest::PROBLEMS`].

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wire::log::GuardRecord;
use wire::peer::ClientAnswer;
use wire::rest::{Diagnostic, Guard, Problem};

/// The problem that the core's answer to a write stands for.
pub fn of_answer(answer: ClientAnswer) -> Problem {
    let mut problem = Problem::new(&answer.code, answer.detail);
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
