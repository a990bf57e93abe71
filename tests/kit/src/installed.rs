//! Which server programs this machine has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where distributions put servers that are not on the `PATH` of everyone.
const SERVER_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The first program of one of these names that `accept` says yes to, on `PATH` or where servers are.
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

/// What a program prints, on either output, for `arguments`; nothing if it cannot be run.
pub(crate) fn output(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else { return String::new() };
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
