//! The certificate of the API, from the settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api::{Certificate, Tls};
use eventstore::Clock;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::watch::Watched;

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_hours(24 * 7);

/// TLS with the certificate that the settings name, and the watch on its files.
pub(crate) struct Served {
    pub(crate) tls: Tls,
    files: Watched<Certificate>,
    clock: Arc<dyn Clock>,
}

/// What the settings say of TLS; `None` if there is no certificate.
pub(crate) async fn open(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Option<Served>> {
    let (certificate, key) = match (settings.tls_cert_file(), settings.tls_key_file()) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate.to_owned(), key.to_owned()),
        _ => bail!("TLS needs TLS_CERT_FILE and TLS_KEY_FILE, and only one of them is set"),
    };
    let named = vec![("TLS_CERT_FILE", certificate), ("TLS_KEY_FILE", key)];
    let (files, certificate) = Watched::open(named, |contents| match contents {
        [chain, key] => Ok(Certificate::from_pem(chain, key)?),
        _ => bail!("expected two files"),
    })
    .await?;
    warn_of_its_end(&certificate, clock.as_ref());
    Ok(Some(Served {
        tls: Tls::with(certificate).context("TLS_CERT_FILE")?,
        files,
        clock,
    }))
}

impl Served {
    /// Keeps the certificate as its files have it until `shutdown`.
    pub(crate) fn keep_up(self, shutdown: CancellationToken) -> impl Future<Output = ()> + Send {
        let Self { tls, files, clock } = self;
        let take = move |certificate: Certificate| {
            tracing::info!(certificate.ends = %certificate.ends(), "the certificate has changed");
            warn_of_its_end(&certificate, clock.as_ref());
            tls.replace(certificate);
        };
        files.keep_up(take, shutdown)
    }
}

fn warn_of_its_end(certificate: &Certificate, clock: &dyn Clock) {
    let (now, ends) = (clock.now(), certificate.ends());
    if ends <= now {
        tracing::warn!(certificate.ends = %ends, "the certificate has expired: clients will refuse it");
    } else if ends.since(now) < SOON {
        tracing::warn!(certificate.ends = %ends, "the certificate expires soon");
    }
}
