//! HTTP, independently of what the application serves.
//!
//! - Connections: the listener with its limits ([`server`]), TLS ([`tls`]), and the metrics page on its own
//!   address ([`metrics_page`]).
//! - Requests: the pipeline that every request passes through ([`pipeline`]), with access control
//!   ([`access`]), rate limits, the addresses of clients ([`clients`]), accepted hosts and origins, traces
//!   and metrics.
//! - Routes: the table of routes ([`routes`]), and the kinds of routes, from which the treatment of a request
//!   follows ([`route_kind`]). The router and the OpenAPI document ([`openapi`]) are built from the table.
//! - Files that are embedded in the binary ([`mod@file`], [`files`]).
//! - Parsers of headers, queries and bodies, and error responses as problem details ([`problem`]).
//!
//! The application provides its routes, its own problem types, and the parts of the pipeline that depend on
//! it ([`pipeline::PipelineParts`]). Of the other crates of the project, this crate uses only `eventstore`,
//! for the clock, timestamps and trace contexts: a process has one clock and one exporter of traces.

pub mod accept;
pub mod access;
pub mod body;
pub mod clients;
mod cors;
pub mod file;
pub mod files;
pub mod headers;
mod host;
mod limit;
mod method;
pub mod metrics;
pub mod metrics_page;
pub mod openapi;
pub mod pipeline;
pub mod problem;
mod public_url;
pub mod query;
pub mod route_kind;
pub mod routes;
mod same_origin;
mod secure;
pub mod server;
mod slash;
pub mod tls;

pub use cors::{Cors, NoOrigin, Origin};
pub use host::{AllowedHost, NoHost};
pub use limit::RateLimit;
pub use method::Method;
pub use metrics_page::{Metrics, serve_metrics};
pub use pipeline::{HttpOptions, RequestId, RequestTrace};
pub use problem::RequestError;
pub use public_url::{NotPublicUrl, PublicUrl};
pub use route_kind::RouteKind;
pub use server::{Listening, listen_plainly};
pub use tls::{Certificate, Tls, TlsError};
