//! `GET /`: what there is, for whoever opens the address that the program prints.

use std::fmt::Write;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::readable::{CACHE, HTML, TEXT, headers, html, text};
use super::{JSON, sample_page};
use crate::accept::preferred;
use crate::openapi::{ABOUT, Described, Media, fields};
use crate::paths::{LIVE, METRICS, READY};

const TITLE: &str = "Patient registration";

/// Paths, and what is there.
const LINKS: [(&str, &str); 7] = [
    ("/docs", "the API, to try out (Swagger UI)"),
    ("/redoc", "the API, to read (Redoc)"),
    ("/openapi.json", "the API, for programs (OpenAPI 3.1)"),
    ("/problems", "what each error means, and what to do"),
    (LIVE, "whether the process runs"),
    (READY, "whether the process can serve"),
    (
        METRICS,
        "metrics for Prometheus; with access tokens, for operators only",
    ),
];

/// What there is.
#[derive(Debug, Serialize, ToSchema)]
struct Home {
    #[schema(example = "Patient registration")]
    title: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
    links: Vec<HomeLink>,
}

/// A path, and what is there.
#[derive(Debug, Serialize, ToSchema)]
struct HomeLink {
    #[schema(example = "/docs", format = "uri-reference")]
    href: &'static str,
    #[schema(example = "the API, to try out (Swagger UI)")]
    title: &'static str,
}

pub(super) fn described() -> Described {
    let example = json!({
        "title": TITLE, "version": env!("CARGO_PKG_VERSION"), "links": [{"href": LINKS[0].0, "title": LINKS[0].1}],
    });
    Described::new(
        ABOUT,
        "What there is",
        "Links to the pages about the API, health and metrics. HTML or JSON if `Accept` prefers it, else text.",
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
            // Relative, so that they lead somewhere under a proxy's path too.
            let mut items = String::new();
            for (path, title) in LINKS {
                let relative = path.trim_start_matches('/');
                _ = writeln!(
                    items,
                    "<dt><a href=\"{relative}\">{path}</a></dt>\n<dd>{title}</dd>"
                );
            }
            html(TITLE, &format!("<dl>\n{items}</dl>\n"))
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
