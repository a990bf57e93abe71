//! `GET /README.md`, `GET /README.es.md`: the introduction of this version of the program.
//!
//! The pages to which it links are not in the binary. They are in the source and in the Debian package.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;
use web::file::File;
use web::files::{self, NOTHING, guarded};

use crate::openapi::{Described, Media, fields};

pub(super) const ENGLISH: &str = "/README.md";
pub(super) const SPANISH: &str = "/README.es.md";

/// Browsers show plain text, and download Markdown.
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! readme {
    ($name:literal) => {
        LazyLock::new(|| {
            let text = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $name));
            File::plain(TEXT, text)
        })
    };
}

static IN_ENGLISH: LazyLock<File> = readme!("README.md");
static IN_SPANISH: LazyLock<File> = readme!("README.es.md");

fn described(summary: &'static str) -> Described {
    Described::new(
        summary,
        "What the program is and how to begin, as Markdown. The pages to which it links are in the source, and in the Debian \
         package in `/usr/share/doc/patients`.",
    )
    .takes([fields::if_none_match(fields::A_FILE)])
    .answers(
        200,
        "The text.",
        [Media::of("text/plain", fields::string(), None)],
        files::headers(),
    )
    .answers(304, "The client already has this version.", [], files::headers())
}

pub(super) fn english_described() -> Described {
    described("Introduction")
}

pub(super) async fn english(headers: HeaderMap) -> Response {
    guarded(IN_ENGLISH.answer(&headers), NOTHING)
}

pub(super) fn spanish_described() -> Described {
    described("Introduction in Spanish")
}

pub(super) async fn spanish(headers: HeaderMap) -> Response {
    guarded(IN_SPANISH.answer(&headers), NOTHING)
}
