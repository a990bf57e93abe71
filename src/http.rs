//! The HTTP client for other servers.

use reqwest::{Client, ClientBuilder};

/// Returns the builder of a client that uses ring for TLS.
pub(crate) fn client() -> ClientBuilder {
    install_tls();
    Client::builder()
}

/// Makes ring the TLS provider of clients. No client can be built without a provider.
pub(crate) fn install_tls() {
    // An earlier call has installed the same provider.
    drop(rustls::crypto::ring::default_provider().install_default());
}
