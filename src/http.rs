//! The client with which other servers are asked over HTTP.

use reqwest::{Client, ClientBuilder};

/// A client to be, with ring for TLS.
pub(crate) fn client() -> ClientBuilder {
    install_tls();
    Client::builder()
}

/// Makes ring what clients use for TLS, which none can be built without.
pub(crate) fn install_tls() {
    // Whoever was first has installed the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
}
