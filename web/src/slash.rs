//! Redirects from a path with one or more trailing slashes, which some clients send, to the same path without
//! these slashes.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// Returns the redirect to the same path without trailing slashes, with the same query. `None` if no route
/// has that path.
pub(crate) fn without_slash(routes: &[&str], uri: &Uri) -> Option<Response> {
    let wanted = uri.path().trim_end_matches('/');
    let is_of_a_route = routes.iter().any(|route| matches(route, wanted));
    is_of_a_route.then(|| redirect(uri)).flatten()
}

/// Returns the redirect to the same path without trailing slashes, with the same query. `None` if the path
/// has no trailing slash, or consists of slashes.
///
/// The path must be a path of a route. `Location` then begins with the first segment of the route, so it
/// never leads to another host.
pub(crate) fn redirect(uri: &Uri) -> Option<Response> {
    let path = uri.path();
    let wanted = path.trim_end_matches('/');
    if wanted == path || wanted.is_empty() {
        return None;
    }
    let location = match uri.query() {
        Some(query) => format!("{wanted}?{query}"),
        None => wanted.to_owned(),
    };
    let location = HeaderValue::try_from(location).ok()?;
    // 308 keeps the method and the body.
    Some((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response())
}

/// Whether a route's template matches this path.
fn matches(route: &str, path: &str) -> bool {
    let (mut template, mut path) = (route.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}
