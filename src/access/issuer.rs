//! The issuer of JWTs, from the settings: which tokens are good, and where its keys come from.

use std::sync::Arc;

use anyhow::{Context, bail};
use api::access::{Algorithms, Issuer, IssuerOptions, Keys};
use eventstore::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::jwks::KeySource;
use crate::settings::IssuerSettings;
use crate::watch::Watched;

/// Where the keys come from.
enum Source {
    File(Watched<Keys>),
    Url(KeySource),
}

/// The issuer, and what keeps its keys as they are there.
pub(super) struct Opened {
    pub(super) issuer: Issuer,
    pub(super) described: String,
    source: Source,
}

/// The issuer, if the settings name one. Waits until its keys can be had.
pub(super) async fn open(
    settings: &IssuerSettings,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Opened>> {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let file = settings
        .auth_jwks_file
        .as_deref()
        .filter(|file| !file.as_os_str().is_empty());
    let (issuer, url) = (said(&settings.auth_jwt_issuer), said(&settings.auth_jwks_url));
    let Some(issuer) = issuer else {
        if file.is_some() || url.is_some() || said(&settings.auth_jwt_audience).is_some() {
            bail!("there are settings for JWTs, but AUTH_JWT_ISSUER is not set");
        }
        return Ok(None);
    };
    let audience = said(&settings.auth_jwt_audience).context(
        "AUTH_JWT_ISSUER is set, and AUTH_JWT_AUDIENCE is not: tokens for others would be good here",
    )?;
    let (source, keys) = match (file, url) {
        (Some(path), None) => {
            let named = vec![("AUTH_JWKS_FILE", path.to_owned())];
            let (file, keys) = Watched::open(named, |contents| {
                Ok(Keys::parse(std::str::from_utf8(&contents.concat())?)?)
            })
            .await?;
            if keys.count() == 0 {
                let why = keys.left_out().first().map_or("it is empty", |why| why);
                bail!(
                    "AUTH_JWKS_FILE {} has no key that can be used: {why}",
                    path.display()
                );
            }
            (Source::File(file), keys)
        }
        (None, Some(url)) => {
            let mut source = KeySource::new(&url, Arc::clone(clock))?;
            let keys = source.first().await;
            (Source::Url(source), keys)
        }
        _ => bail!("AUTH_JWT_ISSUER is set: expected one of AUTH_JWKS_URL and AUTH_JWKS_FILE, for its keys"),
    };
    let described = format!("by JWT of {issuer}; {} of its keys known", keys.count());
    let algorithms: Algorithms = settings
        .auth_jwt_algorithms
        .parse()
        .context("AUTH_JWT_ALGORITHMS")?;
    let options = IssuerOptions {
        issuer,
        audience,
        algorithms,
        roles_claim: settings.auth_jwt_roles_claim.clone(),
    };
    let issuer = Issuer::new(options, keys, Arc::clone(clock)).context("AUTH_JWT_ISSUER")?;
    Ok(Some(Opened {
        issuer,
        described,
        source,
    }))
}

/// Takes other keys.
pub(super) fn take(issuer: &Issuer, keys: Keys) {
    tracing::info!(
        access.keys = keys.count(),
        access.keys_left_out = keys.left_out().len(),
        "the keys of the issuer have changed"
    );
    for why in keys.left_out() {
        tracing::warn!("a key of the issuer is not used: {why}");
    }
    issuer.replace(keys);
}

impl Opened {
    /// Keeps the keys as the file or the issuer has them, until `shutdown`.
    pub(super) fn keep_up(self, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        let issuer = self.issuer;
        match self.source {
            Source::File(file) => file.keep_up(move |keys| take(&issuer, keys), shutdown).boxed(),
            Source::Url(source) => source.keep_up(issuer, shutdown).boxed(),
        }
    }
}
