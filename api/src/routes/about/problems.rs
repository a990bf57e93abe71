//! `GET /problems`, `GET /problems/{slug}`: what each `type` of a problem means and what to do about it.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::pages::guarded;
use super::sample_page;
use crate::headers::accepts;
use crate::openapi::{ABOUT, Described, Media, fields};
use crate::problem::{ApiError, Kind, kinds};

const CACHE: &str = "max-age=3600";

pub(super) fn all_described() -> Described {
    described(
        "All kinds of problems",
        "A list of the kinds that `type` can name.",
    )
}

pub(super) async fn all(headers: HeaderMap) -> Response {
    let lines = kinds::ALL.iter().map(|kind| (kind, kind.detail));
    if accepts(&headers, "text/html") {
        let items = lines.map(|(kind, detail)| {
            format!(
                "<dt><a href=\"{}\">{}</a> ({})</dt>\n<dd>{}</dd>\n",
                kind.path(),
                kind.slug,
                kind.status.as_u16(),
                escaped(detail)
            )
        });
        html("Problems", &format!("<dl>\n{}</dl>\n", items.collect::<String>()))
    } else {
        let lines =
            lines.map(|(kind, detail)| format!("{} ({})\n    {detail}\n", kind.path(), kind.status.as_u16()));
        text(lines.collect::<Vec<_>>().concat())
    }
}

pub(super) fn one_described() -> Described {
    let slugs = fields::string().enum_values(Some(kinds::ALL.iter().map(|kind| kind.slug)));
    described("One kind of problem", "What it means, and what to do.")
        .takes([fields::path(
            "slug",
            slugs,
            json!(kinds::EMAIL_TAKEN.slug),
            "The last part of the `type`.",
        )])
        .problems([kinds::NOT_FOUND])
}

pub(super) async fn one(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(slug) = path.map_err(|_| ApiError::NoSuchRoute)?;
    let kind = Kind::named(&slug).ok_or(ApiError::NoSuchRoute)?;
    let status = kind.status.as_u16();
    Ok(if accepts(&headers, "text/html") {
        html(
            kind.title,
            &format!(
                "<p><code>{}</code>, HTTP status {status}</p>\n<p>{}</p>\n<p>{}</p>\n<p><a href=\"/problems\">All problems</a></p>\n",
                kind.path(),
                escaped(kind.detail),
                escaped(kind.meaning)
            ),
        )
    } else {
        text(format!(
            "{}\n{}, HTTP status {status}\n\n{}\n\n{}\n",
            kind.title,
            kind.path(),
            kind.detail,
            kind.meaning
        ))
    })
}

fn described(summary: &'static str, says: &str) -> Described {
    let media = [Media::of("text/plain", fields::string(), None), sample_page()];
    Described::new(
        ABOUT,
        summary,
        &format!("{says} A page with `Accept: text/html`, else text."),
    )
    .answers(
        200,
        "The page, or the text.",
        media,
        [fields::vary("accept"), fields::cache_control(CACHE)],
    )
}

fn html(title: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         </head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    );
    finished("text/html; charset=utf-8", page)
}

fn text(text: String) -> Response {
    finished("text/plain; charset=utf-8", text)
}

fn finished(media_type: &'static str, page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::VARY, HeaderValue::from_static("accept")),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHE)),
    ];
    guarded(
        (headers, page).into_response(),
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
