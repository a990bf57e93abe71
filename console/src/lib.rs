//! The web console: static files, which are embedded in the binary.
//!
//! The console is a client of the API that runs in a browser. It uses only the public routes, so other
//! clients can do everything that the console can do. The files in `assets` are JavaScript modules that
//! browsers load unchanged. The folder `assets/vendor` contains the only library, Preact with htm; see
//! decision 21.
//!
//! # Guarantees
//!
//! - The Content-Security-Policy allows only files of this service. It allows no inline scripts or styles,
//!   and no conversion of strings to HTML.
//! - The files contain no data of patients, so they require no token.
//!
//! # Adding a page
//!
//! 1. Add a module in `assets/pages`, and add the page to the table `PAGES` in `assets/app.js`. The table
//!    determines the roles that see the page.
//! 2. Add the texts to `assets/en.js` and `assets/es.js`.
//! 3. Add new files to `src/files.rs`, and to the list of preloaded modules in `assets/index.html`.
//! 4. Add the page to the tests in `tests/e2e/console/pages.rs`.

mod files;
mod sign_in;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde_json::json;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, Type};
use web::openapi::fields::{self, Named};
use web::openapi::{Described, Media};
use web::problem::kinds;
use web::routes::Routes;
use web::{RequestError, RouteKind};

pub use sign_in::{Console, NotAnIssuer, SignIn};

/// Path of the console.
pub const CONSOLE: &str = "/console";

/// The policy of a file that is not a page.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'");

/// Path of the style sheet for all pages, without the slash at the beginning.
pub const STYLE: &str = "console/base.css";

/// Returns the routes of the console.
pub fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Console>: FromRef<S>,
{
    Routes::new()
        .get(CONSOLE, RouteKind::About, page, page_described)
        .get("/console/config.json", RouteKind::About, config, config_described)
        .get("/console/{*file}", RouteKind::About, file, file_described)
}

/// Headers of the responses with embedded files.
fn headers() -> [Named; 3] {
    [
        fields::file_etag(),
        fields::cache_control("no-cache"),
        fields::vary("accept-encoding"),
    ]
}

fn page_described() -> Described {
    Described::new(
        "Web console",
        "A client of this API that runs in the browser, for clerks, auditors, operators and the role `privacy`.",
    )
    .takes([fields::if_none_match(fields::A_FILE)])
    .answers(
        200,
        "The page.",
        [Media::of("text/html", fields::string(), None)],
        headers(),
    )
    .answers(304, "The client already has this version.", [], headers())
}

async fn page(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    guarded(files::PAGE.answer(&headers), console.policy.clone())
}

fn config_described() -> Described {
    let example = json!({"sign_in": {
        "issuer": "https://id.example.com/realms/clinic", "client_id": "patients-console", "scope": "openid",
        "audience": "patients-api",
    }});
    let schema = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    Described::new(
        "Settings of the console",
        "Where people sign in: `sign_in` is null if they use access tokens.",
    )
    .takes([fields::if_none_match(fields::A_FILE)])
    .answers(
        200,
        "The settings.",
        [Media::of("application/json", schema, Some(example))],
        headers(),
    )
    .answers(304, "The client already has this version.", [], headers())
}

async fn config(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    guarded(console.config.answer(&headers), NOTHING)
}

fn file_described() -> Described {
    let names = fields::string().enum_values(Some(files::FILES.iter().map(|(name, _)| *name)));
    Described::new("A file that the console loads", "A script or a style sheet.")
        .takes([
            fields::path(
                "file",
                names,
                json!("app.js"),
                "Path of the file. Slashes in the path are not encoded.",
            ),
            fields::if_none_match(fields::A_FILE),
        ])
        .answers(
            200,
            "The file.",
            [
                Media::of("text/javascript", fields::string(), None),
                Media::of("text/css", fields::string(), None),
            ],
            headers(),
        )
        .answers(304, "The client already has this version.", [], headers())
        .problems([kinds::NOT_FOUND])
}

async fn file(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    let Path(wanted) = path.map_err(|_| RequestError::NotFound)?;
    let (_, file) = files::FILES
        .iter()
        .find(|(name, _)| *name == wanted)
        .ok_or(RequestError::NotFound)?;
    Ok(guarded(file.answer(&headers), NOTHING))
}

fn guarded(mut response: Response, policy: HeaderValue) -> Response {
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
