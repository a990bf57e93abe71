//! Files that are reloaded when they change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

/// Interval between checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum size of a file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Contents of the files, in order.
type Contents = Vec<Vec<u8>>;

/// Result of a check; `None` if a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CheckedContents(Option<Contents>);

/// Files named by settings, with a parser for all of them together, and their last contents.
pub(crate) struct ReloadedFiles<T> {
    /// Each file, with the setting that names it.
    files: Vec<(&'static str, PathBuf)>,
    parse: fn(&[Vec<u8>]) -> anyhow::Result<T>,
    current: CheckedContents,
    /// Result of the last check if it was unusable and has not been reported.
    unusable: Option<CheckedContents>,
}

impl<T> ReloadedFiles<T> {
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
        let reloaded = Self {
            files,
            parse,
            current: CheckedContents(Some(contents)),
            unusable: None,
        };
        Ok((reloaded, value))
    }

    /// Passes the parsed files to `apply` whenever they change, until `shutdown`. If the files cannot be read
    /// or parsed, `apply` is not called and an error is logged.
    pub(crate) async fn reload_on_change(mut self, apply: impl Fn(T) + Send, shutdown: CancellationToken)
    where
        T: Send,
    {
        while shutdown
            .run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL))
            .await
            .is_some()
        {
            match self.check().await {
                None => {}
                Some(Ok(value)) => apply(value),
                Some(Err(error)) => {
                    let names: Vec<_> = self.files.iter().map(|(name, _)| *name).collect();
                    let (error, names) = (crate::output::causes(&error), names.join(", "));
                    tracing::error!(error, "{names} cannot be used; the previous content stays in use");
                }
            }
        }
    }

    /// Returns the parsed files if they have changed since the last check. Unusable files may be partially
    /// written, or only one file of a pair may have been replaced. Unusable files cause an error only if the
    /// next check finds the same contents.
    async fn check(&mut self) -> Option<anyhow::Result<T>> {
        let read = read(&self.files).await;
        let now = CheckedContents(read.as_ref().ok().cloned());
        if now == self.current {
            self.unusable = None;
            return None;
        }
        let value = read.and_then(|contents| (self.parse)(&contents));
        if value.is_err() && self.unusable.as_ref() != Some(&now) {
            self.unusable = Some(now);
            return None;
        }
        self.unusable = None;
        self.current = now;
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
    if length > MAX_BYTES {
        bail!("{name} {} has more than {MAX_BYTES} bytes", path.display());
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
        async fn open() -> (Self, ReloadedFiles<String>) {
            let pair = Self(TempDir::new().unwrap());
            pair.write("a", "1");
            pair.write("b", "1");
            let named = ["a", "b"].map(|name| ("A_FILE", pair.0.path().join(name)));
            let (files, value) = ReloadedFiles::open(named.to_vec(), |contents| {
                let [a, b] = contents else { bail!("not two") };
                if a != b {
                    bail!("they do not belong together");
                }
                Ok(String::from_utf8(a.clone())?)
            })
            .await
            .unwrap();
            assert_eq!(value, "1");
            (pair, files)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }
    }

    #[tokio::test]
    async fn each_change_is_reported_once_also_right_after_the_first_read() {
        let (pair, mut files) = Pair::open().await;
        pair.write("a", "2");
        pair.write("b", "2");
        assert_eq!(files.check().await.unwrap().unwrap(), "2");
        assert!(files.check().await.is_none());
    }

    #[tokio::test]
    async fn files_that_change_one_after_the_other_cause_no_error() {
        let (pair, mut files) = Pair::open().await;
        pair.write("a", "2");
        assert!(files.check().await.is_none());
        pair.write("b", "2");
        assert_eq!(files.check().await.unwrap().unwrap(), "2");
    }

    #[tokio::test]
    async fn unusable_files_are_reported_once_and_can_be_fixed_at_any_time() {
        let (pair, mut files) = Pair::open().await;
        for break_it in [
            |pair: &Pair| pair.write("a", "other"),
            |pair: &Pair| std::fs::remove_file(pair.0.path().join("a")).unwrap(),
        ] {
            break_it(&pair);
            assert!(files.check().await.is_none(), "it may be half written");
            files.check().await.unwrap().unwrap_err();
            assert!(files.check().await.is_none());
        }
        pair.write("a", "1");
        assert_eq!(files.check().await.unwrap().unwrap(), "1");
    }
}
