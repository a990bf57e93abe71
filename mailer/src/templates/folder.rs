//! Templates of one's own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::TemplateError;

/// The longest that a template may be, in bytes.
const LONGEST: u64 = 1024 * 1024;
/// The most that a folder may hold.
const MOST: usize = 256;

/// What the folder and the folders in it hold, by name as in `es/patient_registered.txt`. Names that begin
/// with a dot are passed over.
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
        if found.len() == MOST {
            return Err(TemplateError::in_file(shown, "holds too many files"));
        }
        // Follows links, which is how a cluster mounts a file.
        let about = fs::metadata(entry.path()).map_err(|error| failed(&name, &error))?;
        if about.is_file() {
            let text = text(&entry.path()).map_err(|error| failed(&name, &error))?;
            found.insert(name, text);
        } else if prefix.is_empty() {
            read_into(&entry.path(), &format!("{name}/"), found)?;
        } else {
            return Err(TemplateError::in_file(&name, "is no part of a mail"));
        }
    }
    Ok(())
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?
        .take(LONGEST + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}
