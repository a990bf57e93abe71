//! The JWT issuer as configured by the settings: accepted tokens, and the source of the keys.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use eventstore::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use web::access::{Algorithms, Issuer, IssuerOptions, IssuerOptionsError, Keys};

use super::jwks::{KeySource, replace_keys};
use crate::reload::ReloadedFiles;
use crate::settings::IssuerSettings;

/// Source of changes to the issuer's keys.
enum KeyUpdates {
    File(ReloadedFiles<Keys>),
    Url(Box<KeySource>),
}

/// The issuer with its keys, and the source that keeps them up to date.
pub(super) struct LoadedIssuer {
    pub(super) issuer: Issuer,
    pub(super) described: String,
    source: KeyUpdates,
}

/// The issuer read from the settings. Nothing has been fetched yet.
pub(super) struct ConfiguredIssuer {
    options: IssuerOptions,
    issuer: String,
    keys: ConfiguredKeys,
}

enum ConfiguredKeys {
    File(PathBuf),
    Url(Box<KeySource>),
}

impl ConfiguredIssuer {
    /// Returns the issuer, if the settings name one.
    ///
    /// # Errors
    ///
    /// Returns an error for settings that neither waiting for the issuer nor a changed file can fix.
    pub(super) fn of(settings: &IssuerSettings, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Self>> {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let file = settings
            .auth_jwks_file
            .as_deref()
            .filter(|file| !file.as_os_str().is_empty());
        let (issuer, url) = (set(&settings.auth_jwt_issuer), set(&settings.auth_jwks_url));
        let Some(issuer) = issuer else {
            if file.is_some() || url.is_some() || set(&settings.auth_jwt_audience).is_some() {
                bail!("JWT settings are present, but AUTH_JWT_ISSUER is not set");
            }
            return Ok(None);
        };
        let audience = set(&settings.auth_jwt_audience).context(
            "AUTH_JWT_ISSUER is set without AUTH_JWT_AUDIENCE: tokens for other services would be accepted",
        )?;
        let algorithms: Algorithms = settings
            .auth_jwt_algorithms
            .parse()
            .context("AUTH_JWT_ALGORITHMS")?;
        let options = IssuerOptions::new(
            issuer.clone(),
            audience,
            algorithms,
            settings.auth_jwt_type,
            settings.auth_jwt_roles_claim.clone(),
        );
        let options = options.map_err(|error| {
            let setting = match error {
                IssuerOptionsError::Issuer => "AUTH_JWT_ISSUER",
                IssuerOptionsError::Audience => "AUTH_JWT_AUDIENCE",
                IssuerOptionsError::RolesClaim => "AUTH_JWT_ROLES_CLAIM",
            };
            anyhow::Error::new(error).context(setting)
        })?;
        let keys = match (file, url) {
            (Some(path), None) => ConfiguredKeys::File(path.to_owned()),
            (None, Some(url)) => ConfiguredKeys::Url(Box::new(KeySource::new(&url, Arc::clone(clock))?)),
            _ => bail!("AUTH_JWT_ISSUER is set: set either AUTH_JWKS_URL or AUTH_JWKS_FILE for its keys"),
        };
        Ok(Some(Self {
            options,
            issuer,
            keys,
        }))
    }

    /// Reads the issuer's keys. With a URL, waits until they are available.
    pub(super) async fn load(self, clock: &Arc<dyn Clock>) -> anyhow::Result<LoadedIssuer> {
        let (source, keys) = match self.keys {
            ConfiguredKeys::File(path) => {
                let shown = path.display().to_string();
                let named = vec![("AUTH_JWKS_FILE", path)];
                let (file, keys) = ReloadedFiles::open(named, |contents| {
                    Ok(Keys::parse(std::str::from_utf8(&contents.concat())?)?)
                })
                .await?;
                if keys.count() == 0 {
                    let why = keys.left_out().first().map_or("it is empty", |why| why);
                    bail!("AUTH_JWKS_FILE {shown} contains no usable key: {why}");
                }
                (KeyUpdates::File(file), keys)
            }
            ConfiguredKeys::Url(mut source) => {
                let keys = source.first().await;
                (KeyUpdates::Url(source), keys)
            }
        };
        let usable = keys.count_for(self.options.algorithms());
        if usable == 0 {
            tracing::warn!(
                access.keys = keys.count(),
                "none of the issuer's keys matches AUTH_JWT_ALGORITHMS: all of its tokens are rejected"
            );
        }
        let described = format!("by JWT from {} (keys: {})", self.issuer, keys.count());
        let issuer = Issuer::new(self.options, keys, Arc::clone(clock));
        Ok(LoadedIssuer {
            issuer,
            described,
            source,
        })
    }
}

impl LoadedIssuer {
    /// Reloads the keys when the file or the issuer changes them, until `shutdown`.
    pub(super) fn reload_on_change(self, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        let issuer = self.issuer;
        match self.source {
            KeyUpdates::File(file) => file
                .reload_on_change(move |keys| replace_keys(&issuer, keys), shutdown)
                .boxed(),
            KeyUpdates::Url(source) => source.refresh(issuer, shutdown).boxed(),
        }
    }
}
