//! The web console: static files, which are embedded in the binary.
//!
//! The console is a client of the API that runs in a browser. It uses only the documented routes, so
//! other clients can do everything that the console can do. The files in `assets` are JavaScript modules that
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
//! 3. Add new files to `src/embedded.rs`, and to the list of preloaded modules in `assets/index.html`.
//! 4. Add the page to the tests in `tests/e2e/console/pages.rs`.

mod embedded;
mod sign_in;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, Type};
use web::files::{self, NOTHING, guarded};
use web::openapi::fields;
use web::openapi::{Described, Media};
use web::routes::Routes;
use web::{RequestError, RouteKind};

pub use sign_in::{Console, NotAnIssuer, SignIn};

/// Path of the console.
pub const CONSOLE: &str = "/console";

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

fn page_described() -> Described {
    files::page_described(
        "Web console",
        "A client of this API that runs in the browser, for clerks, auditors, operators and the role `privacy`.",
    )
}

async fn page(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    guarded(embedded::PAGE.answer(&headers), console.policy.clone())
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
        files::headers(),
    )
    .answers(304, "The client already has this version.", [], files::headers())
}

async fn config(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    guarded(console.config.answer(&headers), NOTHING)
}

fn file_described() -> Described {
    embedded::FILES.described("A file that the console loads", "app.js")
}

async fn file(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, RequestError> {
    embedded::FILES.answer(path, &headers)
}
