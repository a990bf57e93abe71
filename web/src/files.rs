//! The files that a page loads from the service: their table, their responses and their descriptions.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::RequestError;
use crate::file::File;
use crate::openapi::fields::{self, Named};
use crate::openapi::{Described, Media};
use crate::problem::kinds;

/// Media type of a page.
pub const HTML: &str = "text/html; charset=utf-8";
/// Media type of a script.
pub const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Media type of a style sheet.
pub const STYLE: &str = "text/css; charset=utf-8";

/// The Content-Security-Policy of a file that is not a page.
pub const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'");

/// Scripts and style sheets, by their path below the path of the route.
#[derive(Debug)]
pub struct Files(Vec<(&'static str, File)>);

impl Files {
    /// Creates a table of files.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (&'static str, File)>) -> Self {
        Self(files.into_iter().collect())
    }

    /// The paths of the files.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|(path, _)| *path)
    }

    /// Answers a request for a file.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotFound`].
    pub fn answer(
        &self,
        path: Result<Path<String>, PathRejection>,
        request: &HeaderMap,
    ) -> Result<Response, RequestError> {
        let Path(wanted) = path.map_err(|_| RequestError::NotFound)?;
        let found = self.0.iter().find(|(path, _)| *path == wanted);
        let (_, file) = found.ok_or(RequestError::NotFound)?;
        Ok(guarded(file.answer(request), NOTHING))
    }

    /// Describes the route of the files. `example` is one of the files.
    pub fn described(&self, summary: &'static str, example: &str) -> Described {
        let names = fields::string().enum_values(Some(self.paths()));
        let described = Described::new(summary, "A script or a style sheet.").takes([
            fields::path(
                "file",
                names,
                json!(example),
                "Path of the file. Slashes in the path are not encoded.",
            ),
            fields::if_none_match(fields::A_FILE),
        ]);
        answers(described, "The file.", ["text/javascript", "text/css"]).problems([kinds::NOT_FOUND])
    }
}

/// Describes the route of a page.
pub fn page_described(summary: &'static str, text: &str) -> Described {
    let described = Described::new(summary, text).takes([fields::if_none_match(fields::A_FILE)]);
    answers(described, "The page.", ["text/html"])
}

fn answers<const N: usize>(described: Described, text: &str, media_types: [&'static str; N]) -> Described {
    described
        .answers(
            200,
            text,
            media_types.map(|media_type| Media::of(media_type, fields::string(), None)),
            headers(),
        )
        .answers(304, "The client already has this version.", [], headers())
}

/// Headers of the responses with embedded files.
#[must_use]
pub fn headers() -> [Named; 3] {
    [
        fields::file_etag(),
        fields::cache_control("no-cache"),
        fields::vary("accept-encoding"),
    ]
}

/// Adds a Content-Security-Policy to a response.
pub fn guarded(answer: impl IntoResponse, policy: HeaderValue) -> Response {
    let mut response = answer.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
