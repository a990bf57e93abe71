//! API access as configured by the settings, and the creation of new tokens.

mod issuer;
mod jwks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Subcommand;
use eventstore::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use web::AllowedHost;
use web::access::{Access, Role, Token, Tokens};
use web_console::Console;

use crate::output;
use crate::reload::ReloadedFiles;
use crate::settings::{IssuerSettings, Settings};

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create an access token: print the token, once, and the line that authorizes it
    New {
        /// Role of the token: clerk, auditor, operator or privacy
        #[arg(long)]
        role: Role,
        /// Holder of the token: the actor in event metadata. Letters, digits and -_.@
        #[arg(long)]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs `patients token`.
pub(crate) fn token(command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::New { role, name, json } = command;
    let token = Token::generate().context("cannot get random bytes from the operating system")?;
    let name = name.unwrap_or_else(|| role.name().to_owned());
    let line = token.line(&name, role);
    if !Tokens::parse(&line).is_ok_and(|tokens| tokens.count() == 1) {
        bail!("--name: expected 1 to 64 letters, digits or -_.@; the name anonymous is reserved");
    }
    if json {
        return output::print_json(
            &json!({ "token": token.secret(), "line": line, "name": name, "role": role.name() }),
        );
    }
    output::print(&format!("token  {}\nline   {line}", token.secret()))
}

/// The API's access control, and its description for the startup message.
pub(crate) struct LoadedAccess {
    pub(crate) access: Access,
    pub(crate) described: Vec<String>,
    file: Option<ReloadedFiles<Tokens>>,
    issuer: Option<issuer::LoadedIssuer>,
}

/// Access control read from the settings, before files and keys are read. Without access tokens and without
/// an issuer, the API serves only this machine, unless `AUTH=off` is set.
pub(crate) struct ConfiguredAccess {
    tokens: Option<TokensFrom>,
    issuer: Option<issuer::ConfiguredIssuer>,
    /// Description of who can use an API without authentication.
    open: Option<&'static str>,
}

enum TokensFrom {
    Text(Tokens),
    File(PathBuf),
}

impl ConfiguredAccess {
    /// Reads and checks the settings.
    ///
    /// # Errors
    ///
    /// Returns an error for settings that retrying cannot fix.
    pub(crate) fn of(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let tokens = match (settings.auth_tokens(), settings.auth_tokens_file()) {
            (Some(_), Some(_)) => bail!("AUTH_TOKENS and AUTH_TOKENS_FILE are both set: set only one"),
            (Some(text), None) => Some(TokensFrom::Text(Tokens::parse(text).context("AUTH_TOKENS")?)),
            (None, Some(path)) => Some(TokensFrom::File(path.to_owned())),
            (None, None) => None,
        };
        let issuer = issuer::ConfiguredIssuer::of(&settings.issuer, clock)?;
        let open = if tokens.is_none() && issuer.is_none() {
            Some(without_tokens(settings.http_addr, settings.auth_is_off())?)
        } else {
            None
        };
        if open.is_none() && settings.auth_is_off() {
            bail!("AUTH=off is set together with access tokens or a JWT issuer: use one or the other");
        }
        Ok(Self { tokens, issuer, open })
    }

    /// Reads the tokens and the issuer's keys. Waits until the issuer's keys are available.
    pub(crate) async fn load(self, clock: &Arc<dyn Clock>) -> anyhow::Result<LoadedAccess> {
        if let Some(reach) = self.open {
            return Ok(LoadedAccess {
                access: Access::open(),
                described: vec![format!("no authentication ({reach})")],
                file: None,
                issuer: None,
            });
        }
        let (tokens, file) = match self.tokens {
            Some(TokensFrom::Text(tokens)) => (Some(tokens), None),
            Some(TokensFrom::File(path)) => {
                let named = vec![("AUTH_TOKENS_FILE", path)];
                let (file, tokens) = ReloadedFiles::open(named, |contents| {
                    Ok(Tokens::parse(std::str::from_utf8(&contents.concat())?)?)
                })
                .await?;
                (Some(tokens), Some(file))
            }
            None => (None, None),
        };
        if tokens.as_ref().is_some_and(|tokens| tokens.count() == 0) {
            bail!("AUTH_TOKENS or AUTH_TOKENS_FILE is set but contains no token");
        }
        let issuer = match self.issuer {
            Some(issuer) => Some(issuer.load(clock).await?),
            None => None,
        };
        let count = tokens.as_ref().map(Tokens::count);
        let by_token = count.map(|count| format!("by access token (tokens: {count})"));
        let by_jwt = issuer.as_ref().map(|issuer| issuer.described.clone());
        Ok(LoadedAccess {
            described: by_token.into_iter().chain(by_jwt).collect(),
            access: Access::by_either(
                tokens.unwrap_or_default(),
                issuer.as_ref().map(|loaded| loaded.issuer.clone()),
            ),
            file,
            issuer,
        })
    }
}

/// Returns a description of who can use an API without authentication.
fn without_tokens(address: SocketAddr, off: bool) -> anyhow::Result<&'static str> {
    if !off && !address.ip().is_loopback() {
        bail!(
            "HTTP_ADDR {address} can be reached from other machines, but no authentication is configured: set \
             AUTH_TOKENS_FILE or AUTH_TOKENS (see `patients token new`), AUTH_JWT_ISSUER, or AUTH=off to allow all requests"
        );
    }
    Ok(if off { "AUTH=off" } else { "this machine only" })
}

/// Returns the accepted hosts other than loopback names and the host of the public URL. Without
/// authentication, an API on a specific address also accepts that address as a host: DNS rebinding works with
/// names only.
pub(crate) fn hosts(settings: &Settings, open: bool) -> Vec<AllowedHost> {
    let mut hosts = settings.allowed_hosts();
    let address = settings.http_addr.ip();
    if !open {
        return hosts;
    }
    if hosts.iter().any(AllowedHost::is_every) {
        tracing::warn!(
            "ALLOWED_HOSTS=* without authentication: any web page opened on this machine can use the API"
        );
    } else if hosts.is_empty() && settings.public_url().is_none() && address.is_unspecified() {
        tracing::warn!(
            "only requests to loopback names, such as http://localhost, are accepted: list other hosts in ALLOWED_HOSTS"
        );
    }
    if !address.is_unspecified() {
        hosts.push(address.into());
    }
    hosts
}

/// Creates the web console.
pub(crate) fn console(settings: &IssuerSettings) -> anyhow::Result<Console> {
    let Some(sign_in) = settings.console() else {
        return Ok(Console::default());
    };
    Console::with_sign_in(&sign_in).map_err(|_| {
        anyhow::anyhow!(
            "CONSOLE_CLIENT_ID requires AUTH_JWT_ISSUER to be an https URL, or an http URL of a loopback host"
        )
    })
}

impl LoadedAccess {
    /// Returns the tasks that reload changed tokens and keys until `shutdown`.
    pub(crate) fn reload_tasks(&mut self, shutdown: &CancellationToken) -> Vec<BoxFuture<'static, ()>> {
        let access = self.access.clone();
        let apply = move |tokens: Tokens| {
            tracing::info!(access.tokens = tokens.count(), "the access tokens have changed");
            access.replace(tokens);
        };
        let file = self.file.take();
        let tokens = file.map(|file| file.reload_on_change(apply, shutdown.clone()).boxed());
        let keys = self
            .issuer
            .take()
            .map(|issuer| issuer.reload_on_change(shutdown.clone()));
        tokens.into_iter().chain(keys).collect()
    }
}
