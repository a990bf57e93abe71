//! The API's certificate, as configured by the settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use eventstore::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;
use web::{Certificate, Tls};

use crate::reload::ReloadedFiles;
use crate::settings::Settings;

/// Remaining validity below which a certificate causes a warning.
const SOON: Duration = Duration::from_hours(24 * 7);

/// The TLS configuration, and the watcher of the certificate and key files.
pub(crate) struct ConfiguredTls {
    pub(crate) tls: Tls,
    files: ReloadedFiles<Certificate>,
    clock: Arc<dyn Clock>,
}

/// Reads the configured certificate; `None` if no certificate is configured.
pub(crate) async fn open(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Option<ConfiguredTls>> {
    let (certificate, key) = match (settings.tls_cert_file(), settings.tls_key_file()) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate.to_owned(), key.to_owned()),
        _ => bail!("TLS needs TLS_CERT_FILE and TLS_KEY_FILE, but only one of them is set"),
    };
    let named = vec![("TLS_CERT_FILE", certificate), ("TLS_KEY_FILE", key)];
    let (files, certificate) = ReloadedFiles::open(named, |contents| match contents {
        [chain, key] => Ok(Certificate::from_pem(chain, key)?),
        _ => bail!("expected two files"),
    })
    .await?;
    warn_of_its_time(&certificate, clock.as_ref());
    Ok(Some(ConfiguredTls {
        tls: Tls::with(certificate).context("TLS_CERT_FILE")?,
        files,
        clock,
    }))
}

impl ConfiguredTls {
    /// Reloads the certificate when its files change, until `shutdown`.
    pub(crate) fn reload_on_change(self, shutdown: CancellationToken) -> impl Future<Output = ()> + Send {
        let Self { tls, files, clock } = self;
        let apply = move |certificate: Certificate| {
            tracing::info!(certificate.ends = %certificate.ends(), "the certificate has changed");
            warn_of_its_time(&certificate, clock.as_ref());
            tls.replace(certificate);
        };
        files.reload_on_change(apply, shutdown)
    }
}

/// Warns if clients reject the certificate, or will reject it soon.
fn warn_of_its_time(certificate: &Certificate, clock: &dyn Clock) {
    if let Some(doubt) = doubt(certificate, clock.now()) {
        tracing::warn!(certificate.begins = %certificate.begins(), certificate.ends = %certificate.ends(), "{doubt}");
    }
}

fn doubt(certificate: &Certificate, now: Timestamp) -> Option<&'static str> {
    if certificate.begins() > now {
        Some("the certificate is not valid yet, so clients reject it; or the clock of this machine is wrong")
    } else if certificate.ends() <= now {
        Some("the certificate has expired, so clients reject it")
    } else if certificate.ends().since(now) < SOON {
        Some("the certificate expires soon")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use testkit::Certificates;

    use super::*;

    #[test]
    fn a_certificate_causes_a_warning_before_and_after_its_validity() {
        let made = Certificates::lasting(30);
        let [chain, key] = [made.certificate(), made.key()].map(|file| std::fs::read(file).unwrap());
        let certificate = Certificate::from_pem(&chain, &key).unwrap();
        let (begins, ends) = (certificate.begins(), certificate.ends());
        assert!(begins < ends);
        let moment = Duration::from_secs(1);
        for (now, expected) in [
            (begins - moment, Some("not valid yet")),
            (begins, None),
            (ends - SOON, None),
            (ends - SOON + moment, Some("expires soon")),
            (ends, Some("has expired")),
        ] {
            let doubt = doubt(&certificate, now);
            assert_eq!(doubt.is_some(), expected.is_some(), "{now}: {doubt:?}");
            assert!(
                doubt.unwrap_or_default().contains(expected.unwrap_or_default()),
                "{now}: {doubt:?}"
            );
        }
    }
}
