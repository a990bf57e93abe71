//! Files that are reloaded when they change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

/// Interval between checks of the files.
const LOOK: Duration = Duration::from_secs(2);
/// Maximum size of a file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Contents of the files, in order.
type Contents = Vec<Vec<u8>>;

/// Result of a check; `None` if a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen(Option<Contents>);

/// Files named by settings, with a parser for all of them together, and their last contents.
pub(crate) struct Watched<T> {
    /// Each file, with the setting that names it.
    files: Vec<(&'static str, PathBuf)>,
    parse: fn(&[Vec<u8>]) -> anyhow::Result<T>,
    known: Seen,
    /// Result of the last check if it was unusable and has not been reported.
    doubted: Option<Seen>,
}

impl<T> Watched<T> {
    /// Reads the files for the first time. `parse` receives their contents in the order of `files`.
    pub(crate) async fn open(
        files: Vec<(&'static str, PathBuf)>,
        parse: fn(&[Vec<u8>]) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Self, T)> {
        let contents = read(&files).await?;
        let named = || {
            let named = files
                .iter()
                .map(|(name, path)| format!("{name} {}", path.display()));
            named.collect::<Vec<_>>().join(", ")
        };
        let value = parse(&contents).with_context(named)?;
        let watched = Self {
            files,
            parse,
            known: Seen(Some(contents)),
            doubted: None,
        };
        Ok((watched, value))
    }

    /// Passes the parsed files to `take` whenever they change, until `shutdown`. If the files cannot be read
    /// or parsed, `take` is not called and an error is logged.
    pub(crate) async fn keep_up(mut self, take: impl Fn(T) + Send, shutdown: CancellationToken)
    where
        T: Send,
    {
        while shutdown
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            match self.look().await {
                None => {}
                Some(Ok(value)) => take(value),
                Some(Err(error)) => {
                    let names: Vec<_> = self.files.iter().map(|(name, _)| *name).collect();
                    let (error, names) = (crate::output::causes(&error), names.join(", "));
                    tracing::error!(error, "{names} cannot be used; the previous content stays in use");
                }
            }
        }
    }

    /// Returns the parsed files if they have changed since the last check. Unusable files may be half
    /// written, or only one file of a pair may have been replaced. Unusable files cause an error only if the
    /// next check finds the same contents.
    async fn look(&mut self) -> Option<anyhow::Result<T>> {
        let read = read(&self.files).await;
        let now = Seen(read.as_ref().ok().cloned());
        if now == self.known {
            self.doubted = None;
            return None;
        }
        let value = read.and_then(|contents| (self.parse)(&contents));
        if value.is_err() && self.doubted.as_ref() != Some(&now) {
            self.doubted = Some(now);
            return None;
        }
        self.doubted = None;
        self.known = now;
        Some(value)
    }
}

async fn read(files: &[(&'static str, PathBuf)]) -> anyhow::Result<Contents> {
    let mut contents = Vec::with_capacity(files.len());
    for (name, path) in files {
        contents.push(read_one(name, path).await?);
    }
    Ok(contents)
}

async fn read_one(name: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("{name} {} cannot be read", path.display());
    let length = tokio::fs::metadata(path).await.with_context(context)?.len();
    if length > LARGEST {
        bail!("{name} {} has more than {LARGEST} bytes", path.display());
    }
    tokio::fs::read(path).await.with_context(context)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Two files that must have the same content.
    struct Pair(TempDir);

    impl Pair {
        async fn open() -> (Self, Watched<String>) {
            let pair = Self(TempDir::new().unwrap());
            pair.write("a", "1");
            pair.write("b", "1");
            let files = ["a", "b"].map(|name| ("A_FILE", pair.0.path().join(name)));
            let (watched, value) = Watched::open(files.to_vec(), |contents| {
                let [a, b] = contents else { bail!("not two") };
                if a != b {
                    bail!("they do not belong together");
                }
                Ok(String::from_utf8(a.clone())?)
            })
            .await
            .unwrap();
            assert_eq!(value, "1");
            (pair, watched)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }
    }

    #[tokio::test]
    async fn a_change_just_after_it_was_first_read_is_seen_and_each_change_once() {
        let (pair, mut watched) = Pair::open().await;
        pair.write("a", "2");
        pair.write("b", "2");
        assert_eq!(watched.look().await.unwrap().unwrap(), "2");
        assert!(watched.look().await.is_none());
    }

    #[tokio::test]
    async fn files_that_change_one_after_the_other_are_no_error() {
        let (pair, mut watched) = Pair::open().await;
        pair.write("a", "2");
        assert!(watched.look().await.is_none());
        pair.write("b", "2");
        assert_eq!(watched.look().await.unwrap().unwrap(), "2");
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_complained_of_once_and_mended_at_any_time() {
        let (pair, mut watched) = Pair::open().await;
        for break_it in [
            |pair: &Pair| pair.write("a", "other"),
            |pair: &Pair| std::fs::remove_file(pair.0.path().join("a")).unwrap(),
        ] {
            break_it(&pair);
            assert!(watched.look().await.is_none(), "it may be half written");
            watched.look().await.unwrap().unwrap_err();
            assert!(watched.look().await.is_none());
        }
        pair.write("a", "1");
        assert_eq!(watched.look().await.unwrap().unwrap(), "1");
    }
}
