//! Responses for people: an HTML page, or plain text.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use web_console::STYLE;

use web::files::guarded;

pub(super) const HTML: &str = "text/html";
pub(super) const TEXT: &str = "text/plain";
pub(super) const CACHE: &str = "max-age=3600";

/// Returns an HTML page. `root` is the relative path from the page to the root of the service: empty or
/// `../`.
pub(super) fn html(title: &str, root: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"{root}{STYLE}\">\n</head>\n<body>\n<main class=\"reading\">\n<h1>{title}</h1>\n\
         {body}</main>\n</body>\n</html>\n"
    );
    finished((headers("text/html; charset=utf-8"), page))
}

pub(super) fn text(text: String) -> Response {
    finished((headers("text/plain; charset=utf-8"), text))
}

/// Headers of a response whose format depends on `Accept`.
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
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
