//! Detection of installed server programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders for servers that may not be on `PATH`.
const SERVER_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Finds the first program with one of these names that `accept` accepts, on `PATH` or in the folders for
/// servers.
pub(crate) fn find(names: &[&str], accept: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path)
        .chain(SERVER_FOLDERS.into_iter().map(PathBuf::from))
        .collect();
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates
        .filter(|program| program.is_file())
        .find(|program| accept(program))
}

/// Returns the combined output of a program with `arguments`, or an empty text if it cannot be run.
pub(crate) fn output(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else { return String::new() };
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
