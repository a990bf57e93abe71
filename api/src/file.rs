//! Files that are part of the binary: kept compressed, and given again only when they have changed.

use std::io::Read;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use sha2::{Digest, Sha256};

use crate::accept::prefers_gzip;
use crate::headers::none_match;
use crate::problem::ApiError;

/// A file, as gzip has it.
#[derive(Debug)]
pub(crate) struct File {
    media_type: &'static str,
    gzip: Bytes,
    etag: String,
}

impl File {
    /// One that is compressed already.
    pub(crate) fn compressed(media_type: &'static str, gzip: &'static [u8]) -> Self {
        Self::new(media_type, Bytes::from_static(gzip))
    }

    /// One that is not; empty if it cannot be compressed, which memory cannot refuse.
    pub(crate) fn plain(media_type: &'static str, bytes: &[u8]) -> Self {
        let mut gzip = Vec::new();
        if GzEncoder::new(bytes, Compression::best())
            .read_to_end(&mut gzip)
            .is_err()
        {
            gzip.clear();
        }
        Self::new(media_type, Bytes::from(gzip))
    }

    fn new(media_type: &'static str, gzip: Bytes) -> Self {
        let digest = Sha256::digest(&gzip);
        let start = digest
            .first_chunk()
            .map_or(0, |start| u128::from_be_bytes(*start));
        let etag = format!("{start:032x}");
        Self {
            media_type,
            gzip,
            etag,
        }
    }

    /// The answer to a request with these headers.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response {
        let gzip = prefers_gzip(request);
        // The two forms are two representations, and a strong entity tag names one of them.
        let etag = format!("\"{}{}\"", self.etag, if gzip { "-gzip" } else { "" });
        let known = none_match(request, &etag);
        let body = match (known, gzip) {
            (true, _) => None,
            (false, true) => Some(self.gzip.clone()),
            (false, false) => match self.unpacked() {
                Ok(bytes) => Some(Bytes::from(bytes)),
                Err(error) => {
                    tracing::error!(%error, "a file of the binary could not be unpacked");
                    return ApiError::Internal.into_response();
                }
            },
        };
        let mut response = match body {
            None => StatusCode::NOT_MODIFIED.into_response(),
            Some(bytes) => bytes.into_response(),
        };
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, &etag);
        // Asked for anew each time, which costs a 304: after an update nobody is shown the old one.
        set(header::CACHE_CONTROL, "no-cache");
        set(header::VARY, "accept-encoding");
        if !known {
            set(header::CONTENT_TYPE, self.media_type);
            if gzip {
                set(header::CONTENT_ENCODING, "gzip");
            }
        }
        response
    }

    fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.gzip.as_ref()).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
