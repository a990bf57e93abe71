//! The file of access tokens, read again when it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use api::access::{Access, Tokens};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The file that `AUTH_TOKENS_FILE` names, and what it held when it was last looked at.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    /// `None` if it could not be read.
    known: Option<String>,
}

impl TokenFile {
    /// Reads the file for the first time.
    pub(super) async fn open(path: &Path) -> anyhow::Result<(Self, Tokens)> {
        let text = read(path).await?;
        let tokens = Tokens::parse(&text).with_context(|| format!("AUTH_TOKENS_FILE {}", path.display()))?;
        let file = Self {
            path: path.to_owned(),
            known: Some(text),
        };
        Ok((file, tokens))
    }

    /// Takes the tokens of the file anew whenever it has changed, until `shutdown`. A file that cannot be read or used
    /// changes nothing; an empty one lets nobody in any more.
    pub(super) async fn keep_up(mut self, access: Access, shutdown: CancellationToken) {
        while shutdown
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            match self.look().await {
                None => {}
                Some(Ok(tokens)) => {
                    tracing::info!(access.tokens = tokens.count(), "the access tokens have changed");
                    access.replace(tokens);
                }
                Some(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "AUTH_TOKENS_FILE cannot be used; the tokens before stay");
                }
            }
        }
    }

    /// The tokens, if the file has changed since it was last looked at.
    async fn look(&mut self) -> Option<anyhow::Result<Tokens>> {
        let now = read(&self.path).await;
        if now.as_ref().ok() == self.known.as_ref() {
            return None;
        }
        let tokens = match &now {
            Ok(text) => Tokens::parse(text).map_err(anyhow::Error::from),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        self.known = now.ok();
        Some(tokens)
    }
}

async fn read(path: &Path) -> anyhow::Result<String> {
    let context = || format!("AUTH_TOKENS_FILE {} cannot be read", path.display());
    let length = tokio::fs::metadata(path).await.with_context(context)?.len();
    if length > LARGEST {
        bail!(
            "AUTH_TOKENS_FILE {} has more than {LARGEST} bytes",
            path.display()
        );
    }
    tokio::fs::read_to_string(path).await.with_context(context)
}

#[cfg(test)]
mod tests {
    use api::access::{Role, Token};

    use super::*;

    fn line() -> String {
        Token::generate().unwrap().line("desk", Role::Clerk) + "\n"
    }

    #[tokio::test]
    async fn a_change_just_after_it_was_first_read_is_seen_and_each_change_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, line()).unwrap();
        let (mut file, tokens) = TokenFile::open(&path).await.unwrap();
        assert_eq!(tokens.count(), 1);
        std::fs::write(&path, line() + &line()).unwrap();
        assert_eq!(file.look().await.unwrap().unwrap().count(), 2);
        assert!(file.look().await.is_none());
        std::fs::write(&path, "nonsense").unwrap();
        file.look().await.unwrap().unwrap_err();
        assert!(file.look().await.is_none());
        std::fs::remove_file(&path).unwrap();
        file.look().await.unwrap().unwrap_err();
        assert!(file.look().await.is_none());
        std::fs::write(&path, "# nobody any more\n").unwrap();
        assert_eq!(file.look().await.unwrap().unwrap().count(), 0);
    }
}
