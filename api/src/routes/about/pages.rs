//! `GET /docs` (Swagger UI), `GET /redoc` (Redoc), and the files that they load. All files are embedded in
//! the binary.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use web::file::File;
use web::files::{Files, HTML, SCRIPT, STYLE, guarded, page_described};

use crate::openapi::Described;
use crate::problem::ApiError;

/// Allows scripts, styles and data only from files of this service, not inline. Swagger UI's icons are
/// `data:` URLs.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Like [`DOCS_POLICY`], but also allows the minimum that Redoc needs. Redoc's search runs in a worker that
/// Redoc creates from its own code (`blob:`). Redoc inserts its styles rule by rule into empty `<style>`
/// elements, so the first hash is the hash of empty text. Only the style sheet of the scroll bars contains
/// text, and the second hash is the hash of that text. A newer version of Redoc may need another hash. In
/// that case, the browser test fails, and the browser's message contains the required hash.
const REDOC_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; \
     style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
     'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; img-src 'self' data:; connect-src 'self'; \
     worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

macro_rules! plain {
    ($media_type:expr, $name:literal) => {
        File::plain($media_type, include_bytes!(concat!("../../../assets/", $name)))
    };
}

macro_rules! vendored {
    ($media_type:expr, $name:literal) => {
        File::compressed(
            $media_type,
            include_bytes!(concat!("../../../assets/vendor/", $name, ".gz")),
        )
    };
}

static DOCS: LazyLock<File> = LazyLock::new(|| plain!(HTML, "docs.html"));
static REDOC: LazyLock<File> = LazyLock::new(|| plain!(HTML, "redoc.html"));

/// The files that the pages load.
static ASSETS: LazyLock<Files> = LazyLock::new(|| {
    Files::new([
        ("docs.js", plain!(SCRIPT, "docs.js")),
        ("redoc.js", plain!(SCRIPT, "redoc.js")),
        ("redoc.css", plain!(STYLE, "redoc.css")),
        ("swagger-ui-bundle.js", vendored!(SCRIPT, "swagger-ui-bundle.js")),
        ("swagger-ui.css", vendored!(STYLE, "swagger-ui.css")),
        ("redoc.standalone.js", vendored!(SCRIPT, "redoc.standalone.js")),
    ])
});

pub(super) fn docs_described() -> Described {
    page_described(
        "Interactive API documentation",
        "Swagger UI, which can also send requests from the browser.",
    )
}

pub(super) async fn docs(headers: HeaderMap) -> Response {
    guarded(DOCS.answer(&headers), DOCS_POLICY)
}

pub(super) fn redoc_described() -> Described {
    page_described("API reference", "Redoc, with the whole description on one page.")
}

pub(super) async fn redoc(headers: HeaderMap) -> Response {
    guarded(REDOC.answer(&headers), REDOC_POLICY)
}

pub(super) fn asset_described() -> Described {
    ASSETS.described("A file that the pages load", "docs.js")
}

pub(super) async fn asset(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Ok(ASSETS.answer(path, &headers)?)
}
