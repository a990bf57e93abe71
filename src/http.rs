//! The client with which other servers are asked over HTTP.

use reqwest::{Client, ClientBuilder};

/// A client to be, with ring for TLS.
pub(crate) fn client() -> ClientBuilder {
    // Whoever was first has installed the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
}
