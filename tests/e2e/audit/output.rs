//! `--output`: accepted and rejected targets.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use testkit::{Program, wait_until};

use super::Log;
use crate::rig::SOON;

/// Exports and proves to `target`, and asserts that both fail with `reason`.
fn is_refused(log: &Log, target: &str, reason: &str) {
    for arguments in [&["export"][..], &["prove", "1"]] {
        let (code, said, stderr) = log.audit(&[arguments, &["--output", target]].concat());
        assert_eq!((code, said.as_str()), (1, ""), "{arguments:?} {target}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?} {target}: {stderr}");
    }
}

#[tokio::test]
async fn only_a_regular_file_is_replaced_and_no_link_is_followed() {
    let log = Log::embedded(3).await;
    let path = |name: &str| log.path(name);
    fs::write(path("precious"), "precious").unwrap();
    symlink(path("precious"), path("link")).unwrap();
    symlink(path("nothing"), path("dangling")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    let made = Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    // Creating a device requires privileges that the test may not have.
    let device = Command::new("mknod")
        .args([&path("device"), "c", "1", "7"])
        .output()
        .unwrap();
    let devices = device.status.success().then_some(("device", "a device"));
    for (name, reason) in [
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("folder", "a directory"),
        ("pipe", "a named pipe"),
        ("socket", "a socket"),
    ]
    .into_iter()
    .chain(devices)
    {
        is_refused(&log, &path(name), reason);
        assert!(!Path::new(&path(&format!("{name}.part"))).exists(), "{name}");
    }
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(path("pipe")).unwrap().file_type().is_fifo());
    assert!(!Path::new(&path("nothing")).exists());

    // The path of the part is checked too.
    symlink(path("precious"), path("out.part")).unwrap();
    is_refused(&log, &path("out"), "a symbolic link");
    fs::remove_file(path("out.part")).unwrap();
    fs::hard_link(path("precious"), path("out.part")).unwrap();
    is_refused(&log, &path("out"), "a second name");
    fs::remove_file(path("out.part")).unwrap();
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");
    is_refused(&log, &path("no-folder/out"), "cannot be written");

    // A regular file is replaced, and only its owner can access the new file.
    fs::set_permissions(path("precious"), Permissions::from_mode(0o644)).unwrap();
    File::create(path("precious.part")).unwrap();
    fs::set_permissions(path("precious.part"), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(log.audit(&["export", "--output", &path("precious")]).0, 0);
    let replaced = fs::metadata(path("precious")).unwrap();
    assert_eq!((replaced.mode() & 0o777, replaced.nlink()), (0o600, 1));
    let (_, whole, _) = log.audit(&["export", "--output", "-"]);
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), whole);
    let left: Vec<_> = fs::read_dir(log.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("precious."))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "no other file is left");
}

/// Returns the length of a file, or 0 if it does not exist.
fn length(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

#[tokio::test]
async fn an_export_that_is_killed_again_and_again_advances_each_time() {
    const EVENTS: usize = 20_000;
    let log = Log::embedded(EVENTS).await;
    for format in ["ndjson", "csv"] {
        let (target, part, mark) = (log.path("out"), log.path("out.part"), log.path("out.part.mark"));
        let arguments = ["export", "--format", format, "--output", &target];
        let (mut kills, mut reached) = (0, 0);
        while kills < 4 {
            let program = Program::start(&log.command(&arguments));
            wait_until(SOON, "it has a new mark, or is complete", async || {
                let marked = fs::read_to_string(&mark).unwrap_or_default();
                Path::new(&target).exists() || marked_length(&marked) > reached
            })
            .await;
            program.kill9().await;
            if Path::new(&target).exists() {
                break;
            }
            kills += 1;
            reached = marked_length(&fs::read_to_string(&mark).unwrap());
            assert!(length(&part) >= reached);
            // A crash may lose any data that was not flushed.
            let file = File::options().write(true).open(&part).unwrap();
            file.set_len(reached + (length(&part) - reached) / 2).unwrap();
        }
        assert!(kills > 0, "it ended before it was killed");
        let (code, _, stderr) = log.audit(&arguments);
        assert_eq!(code, 0, "{stderr}");
        let (_, whole, _) = log.audit(&["export", "--format", format]);
        assert!(fs::read_to_string(&target).unwrap() == whole, "{format}");
        assert!(!Path::new(&part).exists() && !Path::new(&mark).exists());
        fs::remove_file(&target).unwrap();
    }
}

/// Returns the number of durable bytes according to a mark.
fn marked_length(mark: &str) -> u64 {
    let mark = serde_json::from_str::<serde_json::Value>(mark).unwrap_or_default();
    mark["length"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_mark_counts_only_for_what_it_was_made_of() {
    const EVENTS: usize = 20_000;
    let log = Log::embedded(EVENTS).await;
    let (target, part, mark) = (log.path("out"), log.path("out.part"), log.path("out.part.mark"));
    let arguments = ["export", "--output", &target];
    let program = Program::start(&log.command(&arguments));
    wait_until(SOON, "the mark exists", async || length(&mark) > 0).await;
    program.kill9().await;
    assert!(!Path::new(&target).exists(), "it ended before it was killed");
    let (written, marked) = (fs::read(&part).unwrap(), fs::read_to_string(&mark).unwrap());
    let (_, whole, _) = log.audit(&["export"]);
    let (_, rest, _) = log.audit(&["export", "--after", "5"]);
    let mut altered = written.clone();
    altered[1000] ^= 1;
    for (what, part_of, mark_of, after, expected) in [
        ("as it was", &written, marked.clone(), "0", &whole),
        ("an altered part", &altered, marked.clone(), "0", &whole),
        ("no part", &Vec::new(), marked.clone(), "0", &whole),
        (
            "half a mark",
            &written,
            marked[..marked.len() / 2].to_owned(),
            "0",
            &whole,
        ),
        (
            "a mark of a mark",
            &written,
            marked.clone() + &marked,
            "0",
            &whole,
        ),
        ("another export", &written, marked.clone(), "5", &rest),
    ] {
        fs::write(&part, part_of).unwrap();
        fs::write(&mark, mark_of).unwrap();
        let (code, _, stderr) = log.audit(&["export", "--after", after, "--output", &target]);
        assert_eq!(code, 0, "{what}: {stderr}");
        assert!(fs::read_to_string(&target).unwrap() == *expected, "{what}");
    }
    assert!(!Path::new(&part).exists() && !Path::new(&mark).exists());
}
