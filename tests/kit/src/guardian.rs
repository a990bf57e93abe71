//! Processes and folders that do not outlive the test process.
//!
//! Each process and each folder has a guardian: a small shell whose standard input is a pipe that only the
//! test process holds open. When the test process ends, for any reason, the kernel closes the pipe. The
//! guardian then reads end of file and kills its process, or removes its folder. A guardian has its own
//! process group, so it survives Ctrl-C and test runners that kill the group of the test. Dropping the value
//! also closes the pipe, and waits until the guardian has finished.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use tokio::sync::watch;

/// Runs the command in arguments 3 and up, and appends its output to the files in arguments 1 and 2.
///
/// Reports the pid of the command, and later its exit status, on descriptor 4. The command inherits that
/// descriptor, so the reader receives the end of file only after the command and all its children have
/// exited. The command runs in the foreground, because a shell makes background commands ignore SIGINT. At
/// the end, `kill -KILL 0` ends the whole group, including the guardian.
const PROCESS: &str = r#"
exec 3<&0 4>&1 </dev/null >/dev/null 2>&1
out=$1 err=$2
shift 2
{ read -r _ <&3; kill -KILL 0; } &
sh -c 'echo $$ >&4; exec "$@"' sh "$@" 3<&- >>"$out" 2>>"$err"
echo $? >&4
kill -KILL 0
"#;

/// Creates a folder, reports its path, and removes it at the end. The removal is retried, because at the end
/// of the test process another guardian may still be killing a server in the folder.
const FOLDER: &str = r#"
folder=$(mktemp -d "${TMPDIR:-/tmp}/patients-test.XXXXXX") || exit 1
echo "$folder"
exec >/dev/null 2>&1
read -r _
tries=0
until rm -rf "$folder" && [ ! -e "$folder" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || exit 1
  sleep 0.05
done
"#;

/// The exit status of a process that was killed together with its guardian, in a shell's form: 128 + SIGKILL.
const KILLED: i32 = 128 + 9;

/// A temporary folder, removed when dropped or when this process ends.
pub(crate) struct Folder {
    path: PathBuf,
    guardian: Child,
}

impl Folder {
    /// Creates an empty folder in the system's temporary folder.
    pub(crate) fn new() -> Self {
        let (guardian, mut report) = spawn(Command::new("/bin/sh").args(["-c", FOLDER, "guardian"]));
        let path = PathBuf::from(read_line(&mut report).expect("a temporary folder can be created"));
        Self { path, guardian }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        release(&mut self.guardian);
    }
}

/// Returns a command that starts `program` as a [`Process`], any number of times, with standard output and
/// error appended to files. The caller adds arguments, environment and working directory.
pub(crate) fn guarded(program: impl AsRef<OsStr>, stdout: &Path, stderr: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", PROCESS, "guardian"])
        .arg(stdout)
        .arg(stderr)
        .arg(program);
    command
}

/// A running process, killed when dropped or when this process ends.
pub(crate) struct Process {
    pid: u32,
    /// The exit status, once the process has exited.
    status: watch::Receiver<Option<i32>>,
    guardian: Child,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a command made by [`guarded`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let (guardian, mut report) = spawn(command);
        let pid = read_line(&mut report)
            .and_then(|pid| pid.parse().ok())
            .expect("the guardian reports a pid");
        let (sender, status) = watch::channel(None);
        let reader = std::thread::spawn(move || {
            let code = read_line(&mut report).and_then(|code| code.parse().ok());
            sender.send_replace(Some(code.unwrap_or(KILLED)));
            let _ = report.read_to_end(&mut Vec::new());
        });
        Self {
            pid,
            status,
            guardian,
            reader: Some(reader),
        }
    }

    /// Returns the pid of the program itself, not of its guardian.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the exit status if the process has exited, as a shell does: 128 + the signal number if a
    /// signal killed it.
    pub(crate) fn status(&self) -> Option<i32> {
        *self.status.borrow()
    }

    /// Waits for the exit and returns the status, as [`Process::status`] does.
    pub(crate) async fn exited(&self) -> i32 {
        let mut status = self.status.clone();
        status
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|status| *status)
            .unwrap_or(KILLED)
    }

    /// Sends a signal by name, such as `TERM`. Does nothing if the process has exited.
    pub(crate) fn signal(&self, name: &str) {
        if self.status().is_none() {
            // Uses the shell's built-in `kill`, because minimal systems have no `kill` program. The command
            // fails only if the process has just exited.
            let _ = Command::new("/bin/sh")
                .args(["-c", r#"kill -s "$1" "$2""#, "kill", name, &self.pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(&self) {
        self.signal("KILL");
        self.exited().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        release(&mut self.guardian);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Starts a guardian. Returns it and the pipe on which it reports.
fn spawn(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut guardian = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell can be started");
    let report = BufReader::new(guardian.stdout.take().expect("standard output is piped"));
    (guardian, report)
}

/// Closes a guardian's pipe, and waits until the guardian has finished.
fn release(guardian: &mut Child) {
    drop(guardian.stdin.take());
    let _ = guardian.wait();
}

fn read_line(report: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    report.read_line(&mut line).ok().filter(|&length| length > 0)?;
    Some(line.trim_end().to_owned())
}
