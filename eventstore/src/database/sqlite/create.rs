//! Creates the file of an SQLite database with access for its owner only.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::private;

/// Suffixes of the files that SQLite creates next to the database file, with the same permissions.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Creates the file and its folder, if missing, with access for the owner only. If the file exists, removes
/// other users' access to the file and to the files next to it.
pub(super) async fn prepare(file: &Path) -> io::Result<()> {
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || {
        if let Some(folder) = file.parent() {
            private::create_folder(folder)?;
        }
        match private::create_file(&file) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                restrict(&file);
                Ok(())
            }
            made => made.map(drop),
        }
    })
    .await
    .map_err(io::Error::other)?
}

fn restrict(file: &Path) {
    let beside = BESIDE.map(|suffix| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    for path in beside.iter().map(PathBuf::as_path).chain([file]) {
        let path_shown = path.display();
        match private::restrict(path) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("removed other users' access to {path_shown}");
            }
            Err(error) => {
                tracing::warn!(%error, "other users of this machine may be able to read {path_shown}: it should have mode 600");
            }
        }
    }
}
