//! `GET /problems`, `GET /problems/{slug}`: what each problem type means, and what to do about it.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;
use web::RequestError;
use web::accept::preferred;
use web::problem::Kind;

use super::readable::{CACHE, HTML, TEXT, escaped, html, text};
use super::sample_page;
use crate::openapi::{Described, Media, fields};
use crate::problem::kinds::Explained;
use crate::problem::{ApiError, kinds};

pub(super) fn all_described() -> Described {
    described(
        "List problem types",
        "A list of all values of `type`, with a short explanation of each.",
    )
}

pub(super) async fn all(headers: HeaderMap) -> Response {
    let lines = kinds::ALL.iter().map(|explained| &explained.kind);
    if wants_html(&headers) {
        let items = lines.map(|kind| {
            format!(
                "<dt><a href=\"problems/{0}\">{0}</a> ({1})</dt>\n<dd>{2}</dd>\n",
                kind.slug,
                kind.status.as_u16(),
                escaped(kind.detail)
            )
        });
        html(
            "Problems",
            "",
            &format!("<dl>\n{}</dl>\n", items.collect::<String>()),
        )
    } else {
        let lines = lines.map(|kind| {
            let Kind { status, detail, .. } = kind;
            format!("{} ({})\n    {detail}\n", kind.path(), status.as_u16())
        });
        text(lines.collect::<Vec<_>>().concat())
    }
}

pub(super) fn one_described() -> Described {
    let slugs = fields::string().enum_values(Some(kinds::ALL.iter().map(|explained| explained.kind.slug)));
    described(
        "Explain a problem type",
        "What the problem means, and what to do about it.",
    )
    .takes([fields::path(
        "slug",
        slugs,
        json!(kinds::EMAIL_TAKEN.slug),
        "The last segment of the `type`.",
    )])
    .problems([kinds::NOT_FOUND])
}

pub(super) async fn one(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(slug) = path.map_err(|_| RequestError::NotFound)?;
    let Explained { kind, meaning } = kinds::named(&slug).ok_or(RequestError::NotFound)?;
    let status = kind.status.as_u16();
    Ok(if wants_html(&headers) {
        html(
            kind.title,
            "../",
            &format!(
                "<p><code>{}</code>, HTTP status {status}</p>\n<p>{}</p>\n<p>{}</p>\n<p><a href=\"../problems\">All problems</a></p>\n",
                kind.path(),
                escaped(kind.detail),
                escaped(meaning)
            ),
        )
    } else {
        text(format!(
            "{}\n{}, HTTP status {status}\n\n{}\n\n{}\n",
            kind.title,
            kind.path(),
            kind.detail,
            meaning
        ))
    })
}

fn wants_html(headers: &HeaderMap) -> bool {
    preferred(headers, TEXT, &[HTML]) == HTML
}

fn described(summary: &'static str, says: &str) -> Described {
    let media = [Media::of(TEXT, fields::string(), None), sample_page()];
    Described::new(
        summary,
        &format!("{says} HTML if `Accept` prefers it, otherwise plain text."),
    )
    .answers(
        200,
        "The page, as HTML or plain text.",
        media,
        [fields::vary("accept"), fields::cache_control(CACHE)],
    )
}
