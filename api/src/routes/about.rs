//! The API about itself: its description, the pages that show it, and what its problems mean.

mod home;
mod pages;
mod problems;
mod readable;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, Type};

use super::table::Routes;
use crate::Api;
use crate::access::EVERYBODY;
use crate::file::File;
use crate::openapi::fields::Named;
use crate::openapi::{ABOUT, Described, Media, fields};

const JSON: &str = "application/json";

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/", EVERYBODY, home::home, home::described)
        .get("/openapi.json", EVERYBODY, openapi, openapi_described)
        .get("/docs", EVERYBODY, pages::docs, pages::docs_described)
        .get("/redoc", EVERYBODY, pages::redoc, pages::redoc_described)
        .get(
            "/docs/assets/{file}",
            EVERYBODY,
            pages::asset,
            pages::asset_described,
        )
        .get("/problems", EVERYBODY, problems::all, problems::all_described)
        .get(
            "/problems/{slug}",
            EVERYBODY,
            problems::one,
            problems::one_described,
        )
}

/// A page, as the document has one.
fn sample_page() -> Media {
    Media::of("text/html", fields::string(), None)
}

/// The headers that a file of the binary comes with.
fn file_headers() -> [Named; 3] {
    [
        fields::file_etag(),
        fields::cache_control("no-cache"),
        fields::vary("accept-encoding"),
    ]
}

fn openapi_described() -> Described {
    let document = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    Described::new(
        ABOUT,
        "This document",
        "OpenAPI 3.1, about this service: `servers` is its public URL, if it has one, and `security` says whether it asks for a token. \
         Compressed if the client takes gzip.",
    )
    .takes([fields::if_none_match(fields::A_FILE)])
    .answers(
        200,
        "The document.",
        [Media::of(JSON, document, None)],
        file_headers(),
    )
    .answers(304, "The client has it already.", [], file_headers())
}

async fn openapi(State(api): State<Api>, headers: HeaderMap) -> Response {
    let document = api.document.get_or_init(|| {
        // It is made of strings and numbers, which JSON has.
        let document = super::document_of(&api).to_json().unwrap_or_default();
        File::plain(JSON, document.as_bytes())
    });
    let mut response = document.answer(&headers);
    // Programs in browsers, such as editors of such documents, may read it from everywhere: it is the same
    // for everybody.
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
