//! `GET /`: links, for people who open the address that the program prints.

use std::fmt::Write;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use web::accept::preferred;
use web::metrics_page::METRICS;
use web_console::CONSOLE;

use super::readable::{CACHE, HTML, TEXT, headers, html, text};
use super::readme::{ENGLISH, SPANISH};
use super::{JSON, sample_page};
use crate::openapi::{Described, Media, fields};
use crate::paths::{LIVE, READY};

const TITLE: &str = "Patient registration";

/// Paths, and descriptions of them.
const LINKS: [(&str, &str); 10] = [
    (
        CONSOLE,
        "Console: register, find, audit and operate in the browser",
    ),
    (ENGLISH, "Introduction: what the program is, and how to begin"),
    (SPANISH, "Introducción en español"),
    ("/docs", "Interactive API documentation (Swagger UI)"),
    ("/redoc", "API reference (Redoc)"),
    ("/openapi.json", "API description for programs (OpenAPI 3.1)"),
    ("/problems", "Explanations of all error responses"),
    (LIVE, "Liveness: whether the process is running"),
    (READY, "Readiness: whether the process can serve requests"),
    (
        METRICS,
        "Metrics for Prometheus; with authentication, for operators only",
    ),
];

/// Links to the pages of the service.
#[derive(Debug, Serialize, ToSchema)]
struct Home {
    #[schema(example = "Patient registration")]
    title: &'static str,
    #[schema(example = "0.2.0-dev")]
    version: &'static str,
    links: Vec<HomeLink>,
}

/// A link.
#[derive(Debug, Serialize, ToSchema)]
struct HomeLink {
    #[schema(example = "/docs", format = "uri-reference")]
    href: &'static str,
    #[schema(example = "Interactive API documentation (Swagger UI)")]
    title: &'static str,
}

pub(super) fn described() -> Described {
    let example = json!({
        "title": TITLE, "version": env!("CARGO_PKG_VERSION"), "links": [{"href": LINKS[0].0, "title": LINKS[0].1}],
    });
    Described::new(
        "Start page",
        "Links to the console, the introduction, the pages about the API, health and metrics. HTML or JSON if `Accept` prefers it, otherwise plain text.",
    )
    .answers(
        200,
        "The links.",
        [
            Media::of(TEXT, fields::string(), None),
            sample_page(),
            Media::json::<Home>(example),
        ],
        [fields::vary("accept"), fields::cache_control(CACHE)],
    )
}

pub(super) async fn home(request: HeaderMap) -> Response {
    match preferred(&request, TEXT, &[HTML, JSON]) {
        HTML => {
            // Relative links also work below a path prefix of a proxy.
            let mut items = String::new();
            for (path, title) in LINKS {
                let relative = path.trim_start_matches('/');
                _ = writeln!(
                    items,
                    "<dt><a href=\"{relative}\">{path}</a></dt>\n<dd>{title}</dd>"
                );
            }
            html(TITLE, "", &format!("<dl>\n{items}</dl>\n"))
        }
        JSON => {
            let links = LINKS.map(|(href, title)| HomeLink { href, title });
            let home = Home {
                title: TITLE,
                version: env!("CARGO_PKG_VERSION"),
                links: links.into(),
            };
            (headers(JSON), Json(home)).into_response()
        }
        _ => {
            let lines = LINKS.map(|(path, title)| format!("{path}\n    {title}\n"));
            text(format!("{TITLE}\n\n{}", lines.concat()))
        }
    }
}
