//! The HTTP methods that routes support: one list for the router, the OpenAPI document, CORS and the metrics.

use axum::http;
use axum::routing::MethodFilter;
use utoipa::openapi::HttpMethod;

/// A method that routes support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`, and `HEAD`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

impl Method {
    pub(crate) const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// Returns the request methods that a route with this method answers.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "HEAD"],
            Self::Post => &["POST"],
            Self::Put => &["PUT"],
            Self::Patch => &["PATCH"],
            Self::Delete => &["DELETE"],
        }
    }

    /// Returns the name that operation ids contain.
    pub(crate) const fn in_ids(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    pub(crate) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    pub(crate) const fn in_openapi(self) -> HttpMethod {
        match self {
            Self::Get => HttpMethod::Get,
            Self::Post => HttpMethod::Post,
            Self::Put => HttpMethod::Put,
            Self::Patch => HttpMethod::Patch,
            Self::Delete => HttpMethod::Delete,
        }
    }
}

/// Returns the names of all methods that routes support.
pub(crate) fn taken() -> impl Iterator<Item = &'static str> {
    Method::ALL.into_iter().flat_map(Method::names).copied()
}

/// Returns the name of a request's method, if any path supports the method. Every path supports `OPTIONS`.
pub(crate) fn name_of(method: &http::Method) -> Option<&'static str> {
    taken().chain(["OPTIONS"]).find(|known| *known == method.as_str())
}

/// Returns the name of a request's method for logs and traces: `_OTHER` for a method that no path supports,
/// because a client can choose any text as the method.
pub(crate) fn logged_name(method: &http::Method) -> &'static str {
    name_of(method).unwrap_or("_OTHER")
}
