//! A file that says who is let in, read again when it changes: the access tokens, the keys of an issuer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What such a file holds.
pub(super) trait Contents: Sized {
    /// The setting that names the file.
    const SETTING: &'static str;

    /// Reads the text of the file.
    fn parse(text: &str) -> anyhow::Result<Self>;
}

/// The file that a setting names, and what it held when it was last looked at.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    /// `None` if it could not be read.
    known: Option<String>,
}

impl WatchedFile {
    /// Reads the file for the first time.
    pub(super) async fn open<C: Contents>(path: &Path) -> anyhow::Result<(Self, C)> {
        let text = read::<C>(path).await?;
        let contents = C::parse(&text).with_context(|| format!("{} {}", C::SETTING, path.display()))?;
        let file = Self {
            path: path.to_owned(),
            known: Some(text),
        };
        Ok((file, contents))
    }

    /// Hands `take` what the file holds whenever it has changed, until `shutdown`. A file that cannot be read or used
    /// changes nothing; an empty list of tokens or keys lets nobody in any more.
    pub(super) async fn keep_up<C: Contents>(mut self, take: impl Fn(C), shutdown: CancellationToken) {
        while shutdown
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            match self.look::<C>().await {
                None => {}
                Some(Ok(contents)) => take(contents),
                Some(Err(error)) => {
                    let (setting, error) = (C::SETTING, format!("{error:#}"));
                    tracing::error!(error, "{setting} cannot be used; what it held before stays");
                }
            }
        }
    }

    /// What it holds, if that has changed since it was last looked at.
    async fn look<C: Contents>(&mut self) -> Option<anyhow::Result<C>> {
        let now = read::<C>(&self.path).await;
        if now.as_ref().ok() == self.known.as_ref() {
            return None;
        }
        let contents = match &now {
            Ok(text) => C::parse(text),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        self.known = now.ok();
        Some(contents)
    }
}

async fn read<C: Contents>(path: &Path) -> anyhow::Result<String> {
    let context = || format!("{} {} cannot be read", C::SETTING, path.display());
    let length = tokio::fs::metadata(path).await.with_context(context)?.len();
    if length > LARGEST {
        bail!("{} {} has more than {LARGEST} bytes", C::SETTING, path.display());
    }
    tokio::fs::read_to_string(path).await.with_context(context)
}

#[cfg(test)]
mod tests {
    use api::access::{Role, Token, Tokens};

    use super::*;

    fn line() -> String {
        Token::generate().unwrap().line("desk", Role::Clerk) + "\n"
    }

    #[tokio::test]
    async fn a_change_just_after_it_was_first_read_is_seen_and_each_change_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, line()).unwrap();
        let (mut file, tokens) = WatchedFile::open::<Tokens>(&path).await.unwrap();
        assert_eq!(tokens.count(), 1);
        std::fs::write(&path, line() + &line()).unwrap();
        assert_eq!(file.look::<Tokens>().await.unwrap().unwrap().count(), 2);
        assert!(file.look::<Tokens>().await.is_none());
        std::fs::write(&path, "nonsense").unwrap();
        file.look::<Tokens>().await.unwrap().unwrap_err();
        assert!(file.look::<Tokens>().await.is_none());
        std::fs::remove_file(&path).unwrap();
        file.look::<Tokens>().await.unwrap().unwrap_err();
        assert!(file.look::<Tokens>().await.is_none());
        std::fs::write(&path, "# nobody any more\n").unwrap();
        assert_eq!(file.look::<Tokens>().await.unwrap().unwrap().count(), 0);
    }
}
