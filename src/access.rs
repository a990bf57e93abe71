//! Who is let in, from the settings; and new tokens.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use api::access::{Access, Role, Token, Tokens};
use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// How often the file of tokens is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The largest file of tokens that is read, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

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
    Tokens::parse(&line).context("--name: expected 1 to 64 letters, digits and -_.@")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "token  {}", token.secret())?;
    writeln!(out, "line   {line}")?;
    Ok(())
}

/// Who is let in, and how to say so in a line.
pub(crate) struct Door {
    pub(crate) access: Access,
    pub(crate) described: String,
    file: Option<PathBuf>,
}

/// What the settings say of access. Whoever names no tokens serves this machine only, or says `AUTH=off`.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Door> {
    let file = settings.auth_tokens_file();
    let text = match (settings.auth_tokens(), file) {
        (Some(_), Some(_)) => bail!("AUTH_TOKENS and AUTH_TOKENS_FILE are both set: expected one"),
        (Some(text), None) => Some(text.to_owned()),
        (None, Some(file)) => Some(read(file).await?),
        (None, None) => None,
    };
    let Some(text) = text else {
        return without_tokens(settings.http_addr, settings.auth_is_off());
    };
    if settings.auth_is_off() {
        bail!("AUTH is off, and there are access tokens: expected one or the other");
    }
    let tokens = Tokens::parse(&text).with_context(|| match file {
        Some(file) => format!("AUTH_TOKENS_FILE {}", file.display()),
        None => "AUTH_TOKENS".to_owned(),
    })?;
    Ok(Door {
        described: format!("by access token; {} known", tokens.count()),
        access: Access::by(tokens),
        file: file.map(Path::to_path_buf),
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
    /// Takes the tokens of the file anew whenever it has changed, until `shutdown`. A file that cannot be read or used
    /// changes nothing.
    pub(crate) fn keep_up(
        &self,
        shutdown: CancellationToken,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let (file, access) = (self.file.clone()?, self.access.clone());
        Some(async move {
            let mut known = read(&file).await.ok();
            while shutdown
                .run_until_cancelled(tokio::time::sleep(LOOK))
                .await
                .is_some()
            {
                let now = read(&file).await;
                if now.as_ref().ok() == known.as_ref() {
                    continue;
                }
                let tokens = now
                    .as_ref()
                    .map_err(|error| format!("{error:#}"))
                    .and_then(|text| Tokens::parse(text).map_err(|error| error.to_string()));
                match tokens {
                    Ok(tokens) => {
                        tracing::info!(access.tokens = tokens.count(), "the access tokens have changed");
                        access.replace(tokens);
                    }
                    Err(error) => {
                        tracing::error!(error, "AUTH_TOKENS_FILE cannot be used; the tokens before stay");
                    }
                }
                known = now.ok();
            }
        })
    }
}

async fn read(file: &Path) -> anyhow::Result<String> {
    let context = || format!("AUTH_TOKENS_FILE {} cannot be read", file.display());
    let length = tokio::fs::metadata(file).await.with_context(context)?.len();
    if length > LARGEST_FILE {
        bail!(
            "AUTH_TOKENS_FILE {} has more than {LARGEST_FILE} bytes",
            file.display()
        );
    }
    tokio::fs::read_to_string(file).await.with_context(context)
}
