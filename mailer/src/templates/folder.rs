//! Custom templates, read from a folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::error::TemplateError;

/// Maximum size of a template, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Maximum number of files in the folder.
const MAX_FILES: usize = 256;

/// Reads the files in the folder and its subfolders, by name, such as `es/patient_registered.txt`. Skips
/// names that begin with a dot.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut found = BTreeMap::new();
    read_into(folder, "", &mut found)?;
    Ok(found)
}

fn read_into(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) -> Result<(), TemplateError> {
    let shown = if prefix.is_empty() {
        "MAIL_TEMPLATES"
    } else {
        prefix
    };
    let failed = |name: &str, error: &io::Error| {
        TemplateError::in_file(name, &format!("cannot be read ({})", error.kind()))
    };
    for entry in fs::read_dir(folder).map_err(|error| failed(shown, &error))? {
        let entry = entry.map_err(|error| failed(shown, &error))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{prefix}{file}");
        if file.starts_with('.') {
            continue;
        }
        if found.len() == MAX_FILES {
            return Err(TemplateError::in_file(shown, "contains too many files"));
        }
        // Symbolic links are followed, because Kubernetes mounts configuration files as symbolic links.
        let about = fs::metadata(entry.path()).map_err(|error| failed(&name, &error))?;
        if about.is_file() {
            let text = text(&entry.path()).map_err(|error| failed(&name, &error))?;
            found.insert(name, text);
        } else if prefix.is_empty() {
            read_into(&entry.path(), &format!("{name}/"), found)?;
        } else {
            return Err(TemplateError::in_file(&name, "is not a known template"));
        }
    }
    Ok(())
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}
