//! The description of the API, the pages that show it, and the pages that explain its problems.

mod home;
mod pages;
mod problems;
mod readable;
mod readme;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, Type};
use web::RouteKind;
use web::file::File;
use web::files;
use web::routes::Routes;

use crate::openapi::{Described, Media, fields};
use crate::state::Api;

const JSON: &str = "application/json";

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .get("/", RouteKind::About, home::home, home::described)
        .get(
            readme::ENGLISH,
            RouteKind::About,
            readme::english,
            readme::english_described,
        )
        .get(
            readme::SPANISH,
            RouteKind::About,
            readme::spanish,
            readme::spanish_described,
        )
        .get("/openapi.json", RouteKind::About, openapi, openapi_described)
        .get("/docs", RouteKind::About, pages::docs, pages::docs_described)
        .get("/redoc", RouteKind::About, pages::redoc, pages::redoc_described)
        .get(
            "/docs/assets/{file}",
            RouteKind::About,
            pages::asset,
            pages::asset_described,
        )
        .get(
            "/problems",
            RouteKind::About,
            problems::all,
            problems::all_described,
        )
        .get(
            "/problems/{slug}",
            RouteKind::About,
            problems::one,
            problems::one_described,
        )
}

/// An HTML page in the OpenAPI document.
fn sample_page() -> Media {
    Media::of("text/html", fields::string(), None)
}

fn openapi_described() -> Described {
    let document = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    Described::new(
        "The OpenAPI document",
        "This OpenAPI 3.1 document, for this service: `servers` contains its public URL, if it has one, and `security` shows whether \
         it requires a token. Compressed if the client accepts gzip.",
    )
    .takes([fields::if_none_match(fields::A_FILE)])
    .answers(
        200,
        "The document.",
        [Media::of(JSON, document, None)],
        files::headers(),
    )
    .answers(304, "The client already has this version.", [], files::headers())
}

async fn openapi(State(api): State<Api>, headers: HeaderMap) -> Response {
    let document = api.document.get_or_init(|| {
        // Serialization does not fail: the document consists of strings and numbers.
        let document = super::document_of(&api).to_json().unwrap_or_default();
        File::plain(JSON, document.as_bytes())
    });
    let mut response = document.answer(&headers);
    // Programs in browsers, such as OpenAPI editors, may read the document from any origin, because the
    // document contains nothing private.
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
