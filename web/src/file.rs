//! Files embedded in the binary. They are stored compressed, and sent only if the client's copy is out of
//! date.

use std::io::Read;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use sha2::{Digest, Sha256};

use crate::accept::prefers_gzip;
use crate::headers::none_match;
use crate::problem::RequestError;

/// Embedded file, stored as gzip.
#[derive(Debug)]
pub struct File {
    media_type: &'static str,
    gzip: Bytes,
    etag: String,
}

impl File {
    /// Creates a file from gzip data.
    #[must_use]
    pub fn compressed(media_type: &'static str, gzip: &'static [u8]) -> Self {
        Self::new(media_type, Bytes::from_static(gzip))
    }

    /// Creates a file from uncompressed data. The file is empty if compression fails, which cannot happen in
    /// memory.
    #[must_use]
    pub fn plain(media_type: &'static str, bytes: &[u8]) -> Self {
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

    /// Answers a request with these headers.
    #[must_use]
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let gzip = prefers_gzip(request);
        // The compressed and the plain form are two representations. A strong entity tag identifies exactly
        // one representation.
        let etag = format!("\"{}{}\"", self.etag, if gzip { "-gzip" } else { "" });
        let known = none_match(request, &etag);
        let body = match (known, gzip) {
            (true, _) => None,
            (false, true) => Some(self.gzip.clone()),
            (false, false) => match self.unpacked() {
                Ok(bytes) => Some(Bytes::from(bytes)),
                Err(error) => {
                    tracing::error!(%error, "an embedded file could not be decompressed");
                    return RequestError::Internal.into_response();
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
        // Clients revalidate the file on each use, which costs a 304 response. As a result, they never show
        // an old file after an update.
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
