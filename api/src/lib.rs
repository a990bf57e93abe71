//! The HTTP API.
//!
//! Commands go through cqrs-es and the append queue ([`commands`]). Reads use the read table, and the log for
//! events that are not projected yet ([`projector::reads`]). Histories and the feed use the log alone
//! ([`history`], `feed`); each of these reads is recorded before it is answered, unless recording is off
//! ([`read_log`]). The API role shares no state with the projector role except tables of the database. The
//! routes below `/mail` return the types of the mailer crate.
//!
//! The `web` crate contains the parts that do not depend on patients: connections, the request pipeline,
//! access control, problem details and the table of routes.
//!
//! # Guarantees
//!
//! - 201 and 204 are sent only after the event is durable.
//! - `GET /patients/{id}` is strongly consistent, in every process.
//! - Every error response is an RFC 9457 problem ([`problem`]), except the report of `/health/ready`. No
//!   error repeats personal data, and no error causes a panic.
//! - The lengths of queues, the sizes of bodies and all waiting times are bounded.
//!
//! # Adding a route
//!
//! 1. Add a file in `routes/` with the handler, its OpenAPI text (`described`) and any code that only this
//!    route needs. Describe every query parameter. A route without described parameters rejects all query
//!    parameters, and a handler that parses its parameters with `Query` rejects unknown parameters.
//! 2. Add the route, with its kind, to the table `routes::routes` and to the table in `tests/http/access.rs`.
//!    The kind determines the roles that may use the route, and how its requests are treated
//!    ([`web::RouteKind`]).
//! 3. Add new errors to [`problem::ApiError`], and explain them in `problem/kinds.rs`.
//! 4. Regenerate the document: `cargo run -- openapi > docs/openapi.json`.

mod by_email;
pub mod checks;
pub mod commands;
pub mod erasure;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
pub mod history;
pub mod hold;
mod ids;
mod legacy;
mod openapi;
mod parameters;
mod paths;
mod personal;
pub mod problem;
pub mod read_log;
pub mod retention;
mod routes;
mod server;
mod state;
mod verification;

pub use feed::FeedEvent;
pub use legacy::LegacyIds;
pub use personal::PatientData;
pub use routes::{openapi, router};
pub use server::serve;
pub use state::{Api, ApiOptions, ApiParts, Shared};
