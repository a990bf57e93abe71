//! Who is let in, from the settings; and new tokens.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use api::access::{Access, Role, Token, Tokens};
use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::watch::Watched;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a new access token: print it once, and the line that lets its holder in
    New {
        /// What it is for: clerk, auditor or operator
        #[arg(long)]
        role: Role,
        /// Who holds it: the actor in the metadata of events. Letters, digits and -_.@
        #[arg(long)]
        name: Option<String>,
    },
}

/// `patients token`.
pub(crate) fn token(command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::New { role, name } = command;
    let token = Token::generate().context("the operating system gives no random bits")?;
    let name = name.unwrap_or_else(|| role.name().to_owned());
    let line = token.line(&name, role);
    if !Tokens::parse(&line).is_ok_and(|tokens| tokens.count() == 1) {
        bail!("--name: expected 1 to 64 letters, digits and -_.@");
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "token  {}", token.secret())?;
    writeln!(out, "line   {line}")?;
    Ok(())
}

/// Who is let in, and how to say so in a line.
pub(crate) struct Door {
    pub(crate) access: Access,
    pub(crate) described: String,
    file: Option<Watched<Tokens>>,
}

/// What the settings say of access. Whoever names no tokens serves this machine only, or says `AUTH=off`.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Door> {
    let (tokens, file) = match (settings.auth_tokens(), settings.auth_tokens_file()) {
        (Some(_), Some(_)) => bail!("AUTH_TOKENS and AUTH_TOKENS_FILE are both set: expected one"),
        (Some(text), None) => (Tokens::parse(text).context("AUTH_TOKENS")?, None),
        (None, Some(path)) => {
            let named = vec![("AUTH_TOKENS_FILE", path.to_owned())];
            let (file, tokens) = Watched::open(named, |contents| {
                Ok(Tokens::parse(std::str::from_utf8(&contents.concat())?)?)
            })
            .await?;
            (tokens, Some(file))
        }
        (None, None) => return without_tokens(settings.http_addr, settings.auth_is_off()),
    };
    if settings.auth_is_off() {
        bail!("AUTH is off, and there are access tokens: expected one or the other");
    }
    if tokens.count() == 0 {
        bail!("AUTH_TOKENS or AUTH_TOKENS_FILE is set, and there is no token: nobody could do anything");
    }
    Ok(Door {
        described: format!("by access token; {} known", tokens.count()),
        access: Access::by(tokens),
        file,
    })
}

fn without_tokens(address: SocketAddr, off: bool) -> anyhow::Result<Door> {
    if !off && !address.ip().is_loopback() {
        bail!(
            "HTTP_ADDR {address} can be reached from other machines, and there are no access tokens: expected \
             AUTH_TOKENS_FILE or AUTH_TOKENS (see `patients token new`), or AUTH=off to let everybody in"
        );
    }
    let reach = if off { "AUTH=off" } else { "this machine only" };
    Ok(Door {
        access: Access::open(),
        described: format!("open to everybody ({reach})"),
        file: None,
    })
}

impl Door {
    /// Keeps the tokens as the file has them until `shutdown`; `None` if they are not from a file.
    pub(crate) fn keep_up(
        &mut self,
        shutdown: CancellationToken,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let access = self.access.clone();
        let take = move |tokens: Tokens| {
            tracing::info!(access.tokens = tokens.count(), "the access tokens have changed");
            access.replace(tokens);
        };
        self.file.take().map(|file| file.keep_up(take, shutdown))
    }
}
