//! The keys of an issuer, fetched from it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api::access::{Issuer, Keys};
use eventstore::Clock;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio_util::sync::CancellationToken;

use super::issuer::take;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often the keys are fetched when no token names one that is not known.
const REFRESH: Duration = Duration::from_mins(5);
/// How soon a fetch that failed is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// How long keys are good that the issuer could not confirm: one that it withdrew is then forgotten, even if
/// somebody keeps us from hearing of it.
const LONGEST_AWAY: Duration = Duration::from_hours(24);
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest set of keys, in bytes.
const LARGEST: usize = 256 * 1024;

/// Where the keys are fetched from, and what was found there last.
pub(super) struct KeySource {
    url: Url,
    client: Client,
    clock: Arc<dyn Clock>,
    /// The set as it was last taken.
    known: String,
}

impl KeySource {
    /// `https://…`, or `http://…` on this machine.
    pub(super) fn new(url: &str, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let expected = "AUTH_JWKS_URL: expected https://…, or http:// to this machine, without a password";
        let url: Url = url.parse().context(expected)?;
        let here = is_this_machine(&url);
        let safe = url.scheme() == "https" || url.scheme() == "http" && here;
        if !safe || !url.username().is_empty() || url.password().is_some() {
            bail!(expected);
        }
        let client = crate::http::client()
            .timeout(TIMEOUT)
            // It could lead to where we would not have gone.
            .redirect(Policy::none())
            .user_agent(concat!("patients/", env!("CARGO_PKG_VERSION")));
        // A proxy for the outside has nothing to say about this host.
        let client = if here { client.no_proxy() } else { client };
        Ok(Self {
            url,
            client: client.build().context("AUTH_JWKS_URL cannot be asked")?,
            clock,
            known: String::new(),
        })
    }

    /// The first keys, waiting for the issuer if it does not answer yet.
    pub(super) async fn first(&mut self) -> Keys {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.fetch().await {
                Ok((text, keys)) if keys.count() > 0 => {
                    self.known = text;
                    return keys;
                }
                Ok(_) => tracing::warn!("waiting for AUTH_JWKS_URL: it has no key that can be used"),
                Err(error) => {
                    let error = crate::output::causes(&error);
                    tracing::warn!(error, "waiting for the keys of AUTH_JWKS_URL");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Fetches the keys now and then, and when a token names one that is not known, until `shutdown`. While
    /// the issuer is away, those before stay, for [`LONGEST_AWAY`].
    pub(super) async fn keep_up(mut self, issuer: Issuer, shutdown: CancellationToken) {
        let mut confirmed = self.clock.monotonic();
        let mut pause = REFRESH;
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
                        take(&issuer, keys);
                        self.known = text;
                    }
                    pause = REFRESH;
                }
                Err(error) => {
                    let error = crate::output::causes(&error);
                    tracing::warn!(error, "AUTH_JWKS_URL cannot be used; the keys before stay");
                    if self.clock.monotonic().saturating_sub(confirmed) > LONGEST_AWAY
                        && !self.known.is_empty()
                    {
                        tracing::error!("AUTH_JWKS_URL could not be used for a day; its keys are forgotten");
                        issuer.replace(Keys::default());
                        self.known.clear();
                    }
                    pause = RETRY;
                }
            }
            issuer.tried();
        }
    }

    /// The set of keys as it is there now, and its text.
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
            bail!("the answer is {status}");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > LARGEST {
                bail!("the answer has more than {LARGEST} bytes");
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).context("the answer is not UTF-8")?;
        let keys = Keys::parse(&text)?;
        Ok((text, keys))
    }
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
