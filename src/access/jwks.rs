//! The issuer's keys, fetched by HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use eventstore::Clock;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio_util::sync::CancellationToken;
use web::access::{Issuer, Keys};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Interval between fetches while no token names an unknown key.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// Pause before a failed fetch is retried.
const RETRY: Duration = Duration::from_secs(15);
/// Maximum time for which keys stay valid without a successful fetch. It limits how long a revoked key is
/// accepted if an attacker blocks the connection to the issuer.
const MAX_TIME_WITHOUT_FETCH: Duration = Duration::from_hours(24);
/// Timeout of a fetch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a key set, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The URL of the keys, and the key set last fetched from it.
pub(super) struct KeySource {
    url: Url,
    client: Client,
    clock: Arc<dyn Clock>,
    /// Text of the key set in use.
    known: String,
}

impl KeySource {
    /// Creates a source for `https://…`, or for `http://…` with a loopback host.
    pub(super) fn new(url: &str, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let expected = "AUTH_JWKS_URL: expected https://…, or http://… on loopback, without credentials";
        let url: Url = url.parse().context(expected)?;
        let here = is_this_machine(&url);
        let safe = url.scheme() == "https" || url.scheme() == "http" && here;
        if !safe || !url.username().is_empty() || url.password().is_some() {
            bail!(expected);
        }
        let client = crate::http::client()
            .timeout(TIMEOUT)
            // A redirect could point to an address that this check would reject.
            .redirect(Policy::none())
            .user_agent(concat!("patients/", env!("CARGO_PKG_VERSION")));
        // Requests to this machine must not go through a proxy.
        let client = if here { client.no_proxy() } else { client };
        Ok(Self {
            url,
            client: client
                .build()
                .context("AUTH_JWKS_URL: the HTTP client cannot be created")?,
            clock,
            known: String::new(),
        })
    }

    /// Fetches the first keys. Retries until the issuer returns a usable key.
    pub(super) async fn first(&mut self) -> Keys {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.fetch().await {
                Ok((text, keys)) if keys.count() > 0 => {
                    self.known = text;
                    return keys;
                }
                Ok(_) => tracing::warn!("waiting for AUTH_JWKS_URL: it returns no usable key"),
                Err(error) => {
                    let error = crate::output::causes(&error);
                    tracing::warn!(error, "waiting for the keys from AUTH_JWKS_URL");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Fetches the keys periodically, and when a token names an unknown key, until `shutdown`. While fetches
    /// fail, the current keys stay in use for at most [`MAX_TIME_WITHOUT_FETCH`].
    pub(super) async fn refresh(mut self, issuer: Issuer, shutdown: CancellationToken) {
        let mut confirmed = self.clock.monotonic();
        let mut pause = REFRESH_INTERVAL;
        issuer.tried();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = issuer.wish() => {}
            }
            let fetched = tokio::select! {
                () = shutdown.cancelled() => return,
                fetched = self.fetch() => fetched,
            };
            match fetched {
                Ok((text, keys)) => {
                    confirmed = self.clock.monotonic();
                    if text != self.known {
                        replace_keys(&issuer, keys);
                        self.known = text;
                    }
                    pause = REFRESH_INTERVAL;
                }
                Err(error) => {
                    let error = crate::output::causes(&error);
                    tracing::warn!(
                        error,
                        "AUTH_JWKS_URL cannot be used; the current keys stay in use"
                    );
                    if self.clock.monotonic().saturating_sub(confirmed) > MAX_TIME_WITHOUT_FETCH
                        && !self.known.is_empty()
                    {
                        tracing::error!("AUTH_JWKS_URL could not be used for a day; its keys are discarded");
                        issuer.replace(Keys::default());
                        self.known.clear();
                    }
                    pause = RETRY;
                }
            }
            issuer.tried();
        }
    }

    /// Fetches the key set, and returns it with its text.
    async fn fetch(&self) -> anyhow::Result<(String, Keys)> {
        let mut answer = self
            .client
            .get(self.url.clone())
            .header("accept", "application/jwk-set+json, application/json")
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        if status != reqwest::StatusCode::OK {
            bail!("the response status is {status}");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_BYTES {
                bail!("the response exceeds {MAX_BYTES} bytes");
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).context("the response is not UTF-8")?;
        let keys = Keys::parse(&text)?;
        Ok((text, keys))
    }
}

/// Replaces the issuer's keys.
pub(super) fn replace_keys(issuer: &Issuer, keys: Keys) {
    tracing::info!(
        access.keys = keys.count(),
        access.keys_left_out = keys.left_out().len(),
        "the issuer's keys have changed"
    );
    for why in keys.left_out() {
        tracing::warn!("a key of the issuer is ignored: {why}");
    }
    issuer.replace(keys);
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use eventstore::SystemClock;

    use super::*;

    #[test]
    fn keys_are_fetched_over_tls_or_from_this_machine() {
        let may = |url| KeySource::new(url, SystemClock::shared()).is_ok();
        for url in [
            "https://id.example.com/keys",
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys",
            "http://[::1]:1/keys",
        ] {
            assert!(may(url), "{url}");
        }
        for url in [
            "http://id.example.com/keys",
            "http://localhost.example.com/keys",
            "http://192.168.1.7/keys",
            "file:///etc/keys",
            "ftp://127.0.0.1/keys",
            "https://user:password@id.example.com/keys",
            "id.example.com",
            "",
        ] {
            assert!(!may(url), "{url}");
        }
    }
}
