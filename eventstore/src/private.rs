//! Files and folders that hold personal data. Only their owner has access, regardless of the umask of the
//! process.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Mode of a file: read and write for the owner.
const FILE: u32 = 0o600;
/// Mode of a folder: full access for the owner.
const FOLDER: u32 = 0o700;
/// Permission bits of the group and others.
const OTHERS: u32 = 0o077;

/// Creates a folder and its missing parents, with access for the owner only. An existing folder is left
/// unchanged, because it may hold other files.
///
/// # Errors
///
/// If the folder cannot be created, or the path is a file.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        create_folder(above)?;
    }
    match DirBuilder::new().mode(FOLDER).create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(FOLDER)),
        // Another process has created the folder first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a file for writing, with access for the owner only.
///
/// # Errors
///
/// If the file exists or cannot be created.
pub fn create_file(file: &Path) -> io::Result<File> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE)
        .open(file)?;
    made.set_permissions(Permissions::from_mode(FILE))?;
    Ok(made)
}

/// Whether the group or others have any access to a file or folder.
///
/// # Errors
///
/// If the metadata of the path cannot be read.
pub fn is_shared(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & OTHERS != 0)
}

/// Removes the access of the group and others from a file, if it exists. Returns whether they had access.
///
/// # Errors
///
/// If the metadata cannot be read, or the file belongs to another user.
pub fn restrict(file: &Path) -> io::Result<bool> {
    let mode = match fs::metadata(file) {
        Ok(found) if found.is_file() => found.permissions().mode(),
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if mode & OTHERS == 0 {
        return Ok(false);
    }
    fs::set_permissions(file, Permissions::from_mode(mode & FOLDER))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_that_are_made_are_for_the_owner_and_others_stay_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let folder = root.path().join("a/b");
        for _ in 0..2 {
            create_folder(&folder).unwrap();
        }
        let modes = [&folder, folder.parent().unwrap(), root.path()].map(mode);
        assert_eq!(modes, [0o700, 0o700, 0o755]);
        fs::write(root.path().join("file"), "").unwrap();
        create_folder(&root.path().join("file/below")).unwrap_err();
        create_folder(&root.path().join("file")).unwrap_err();
    }

    #[test]
    fn a_file_is_made_for_the_owner_and_an_older_one_is_taken_from_the_others() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        assert!(!restrict(&file).unwrap(), "the file does not exist");
        create_file(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        create_file(&file).unwrap_err();
        for (before, after) in [(0o644, 0o600), (0o666, 0o600), (0o755, 0o700), (0o440, 0o400)] {
            fs::set_permissions(&file, Permissions::from_mode(before)).unwrap();
            assert!(is_shared(&file).unwrap());
            assert!(restrict(&file).unwrap(), "{before:o}");
            assert_eq!(mode(&file), after, "{before:o}");
            assert!(!restrict(&file).unwrap() && !is_shared(&file).unwrap());
        }
        assert!(!restrict(root.path()).unwrap(), "folders are left unchanged");
    }
}
