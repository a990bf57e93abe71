//! The HTTP client of the tests.

/// Returns the builder of a client with ring for TLS and without a proxy.
pub fn http_client() -> reqwest::ClientBuilder {
    // An error means that the same provider is already installed.
    drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy()
}
