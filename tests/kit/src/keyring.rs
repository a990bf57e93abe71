//! A keyring for tests and measurements.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Content of the file. All tests use the same keys, which protect nothing.
const CONTENT: &str = r#"{
  "version": 1,
  "active": "0000000000000001",
  "wrapping_keys": [
    {
      "id": "0000000000000001",
      "created_at": "2026-01-01T00:00:00.000000Z",
      "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    }
  ],
  "claims_secret": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
  "ids_secret": "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
}
"#;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::current_exe().unwrap();
    let path = folder.with_file_name("test-keyring.json");
    let written = folder.with_file_name(format!("test-keyring.{}.tmp", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&written)
        .unwrap();
    file.write_all(CONTENT.as_bytes()).unwrap();
    // Other test processes may read the file at the same time.
    std::fs::rename(written, &path).unwrap();
    path
});

/// Returns the path of a keyring file, next to the running program.
///
/// # Panics
///
/// If the file cannot be written.
#[must_use]
pub fn keyring_file() -> PathBuf {
    FILE.clone()
}
