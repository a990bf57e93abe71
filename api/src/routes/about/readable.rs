//! Answers for people: a page of HTML, or text.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::pages::guarded;

pub(super) const HTML: &str = "text/html";
pub(super) const TEXT: &str = "text/plain";
pub(super) const CACHE: &str = "max-age=3600";

/// A page without styles of its own: browsers show it light or dark, as their users want it, and as wide as
/// the screen.
pub(super) fn html(title: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    );
    finished((headers("text/html; charset=utf-8"), page))
}

pub(super) fn text(text: String) -> Response {
    finished((headers("text/plain; charset=utf-8"), text))
}

/// The headers of an answer whose form `Accept` chooses.
pub(super) fn headers(media_type: &'static str) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::VARY, HeaderValue::from_static("accept")),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHE)),
    ]
}

fn finished(answer: impl IntoResponse) -> Response {
    guarded(
        answer,
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
