//! Files and folders that hold personal data or secrets. Only their owner has access, regardless of the umask
//! of the process.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use chacha20poly1305::aead::Generate as _;

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

/// Writes a new file with this content. The file is durable when this returns.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] if the file exists, even if another process has just written it; other errors
/// if the file cannot be written.
pub fn write_new(file: &Path, content: &[u8]) -> io::Result<()> {
    // Unlike a rename, a hard link fails if the file exists.
    publish(file, content, |written| fs::hard_link(written, file))
}

/// Replaces the content of a file, or creates it. The file is durable when this returns. Readers see either
/// the old or the new content, even after a crash.
///
/// # Errors
///
/// If the file cannot be written.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    publish(file, content, |written| fs::rename(written, file))
}

/// Writes a temporary file in the same folder, gives it its name with `publish`, and removes the temporary
/// file, even after an error.
///
/// The name of the temporary file is random, because processes in different containers can have the same
/// process id and share the folder. A process that is killed leaves its temporary file behind.
fn publish(file: &Path, content: &[u8], publish: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let suffix = <[u8; 8]>::try_generate()
        .map_err(|_| io::Error::other("the operating system provides no random bytes"))?;
    let mut name = file.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(format!(".{:016x}.tmp", u64::from_be_bytes(suffix)));
    let temporary = file.with_file_name(name);
    let written = match create_file(&temporary) {
        // The file belongs to another process, so it is not removed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(io::Error::other("the temporary file exists"));
        }
        created => created.and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        }),
    };
    let published = written
        .and_then(|()| publish(&temporary))
        .and_then(|()| sync_folder_of(file));
    let removed = match fs::remove_file(&temporary) {
        // The removal is durable too, so that no second copy of a secret comes back.
        Ok(()) => sync_folder_of(file),
        // The file was never created, or was renamed.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    published.and(removed)
}

/// Makes the entry of a file in its folder durable.
///
/// # Errors
///
/// If the folder cannot be opened or flushed.
pub fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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

    #[test]
    fn a_file_is_written_as_a_whole_and_a_new_one_replaces_no_other() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        replace(&file, b"first").unwrap();
        let exists = write_new(&file, b"second").unwrap_err();
        assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"first");
        replace(&file, b"third").unwrap();
        write_new(&root.path().join("new"), b"fourth").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"third");
        assert_eq!(mode(&file), 0o600);
        let missing = replace(&root.path().join("none/file"), b"").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }
}
