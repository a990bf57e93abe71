//! The client with which the tests speak HTTP.

/// A client to be, with ring for TLS and without a proxy.
pub fn http_client() -> reqwest::ClientBuilder {
    // Whoever was first has installed the same one.
    drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy()
}
