//! Processes and folders that do not outlive the test process.
//!
//! Each has a guardian: a small shell whose standard input is a pipe that only the test process holds. When that
//! process ends, by whatever means, the kernel closes the pipe; the guardian reads end of file and kills its process,
//! or removes its folder. A guardian has a process group of its own, so that neither Ctrl-C nor a test runner that
//! kills the test's group reaches it first. Dropping the value closes the pipe too, and waits until the work is done.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use tokio::sync::watch;

/// Runs the command of its arguments 3 and on, with output appended to the files of arguments 1 and 2.
///
/// Reports the command's pid, then its exit status, on descriptor 4. The command keeps that descriptor, so its end of file
/// means that the command and all that it started are gone. It runs in the foreground, because a shell makes its
/// background commands ignore SIGINT. `kill -KILL 0` ends the whole group, the guardian included.
const PROCESS: &str = r#"
exec 3<&0 4>&1 </dev/null >/dev/null 2>&1
out=$1 err=$2
shift 2
{ read -r _ <&3; kill -KILL 0; } &
sh -c 'echo $$ >&4; exec "$@"' sh "$@" 3<&- >>"$out" 2>>"$err"
echo $? >&4
kill -KILL 0
"#;

/// Makes a folder, reports its path, and removes it at the end; again until it is gone, because at the end of the
/// test process a server in it is being killed by its own guardian at the same time.
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

/// The exit status of a process that was killed with its guardian, as a shell gives it: 128 + SIGKILL.
const KILLED: i32 = 128 + 9;

/// A temporary folder, removed when dropped or when this process ends.
pub(crate) struct Folder {
    path: PathBuf,
    guardian: Child,
}

impl Folder {
    /// Makes an empty one, in the system's temporary folder.
    pub(crate) fn new() -> Self {
        let (guardian, mut report) = spawn(Command::new("/bin/sh").args(["-c", FOLDER, "guardian"]));
        let path = PathBuf::from(read_line(&mut report).expect("a temporary folder can be made"));
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

/// A command that a [`Process`] can be started from, any number of times: `program` with standard output and error
/// appended to files. The caller adds arguments, environment and working directory.
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
    /// The exit status, once there is one.
    status: watch::Receiver<Option<i32>>,
    guardian: Child,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts what [`guarded`] made.
    pub(crate) fn start(command: &mut Command) -> Self {
        let (guardian, mut report) = spawn(command);
        let pid = read_line(&mut report)
            .and_then(|pid| pid.parse().ok())
            .expect("the guardian tells a pid");
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

    /// The pid of the program itself, not of its guardian.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status if it has ended, as a shell gives it: 128 + the signal's number if one killed it.
    pub(crate) fn status(&self) -> Option<i32> {
        *self.status.borrow()
    }

    /// Waits for the end and gives the exit status, as [`Process::status`] does.
    pub(crate) async fn exited(&self) -> i32 {
        let mut status = self.status.clone();
        status
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|status| *status)
            .unwrap_or(KILLED)
    }

    /// Sends a signal by name, such as `TERM`. Does nothing if the process has ended.
    pub(crate) fn signal(&self, name: &str) {
        if self.status().is_none() {
            // The shell's own `kill`: minimal systems have no other. It may fail only because the process has just ended.
            let _ = Command::new("/bin/sh")
                .args(["-c", r#"kill -s "$1" "$2""#, "kill", name, &self.pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
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

/// Starts a guardian, and gives what it reports.
fn spawn(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut guardian = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell can be started");
    let report = BufReader::new(guardian.stdout.take().expect("it was piped"));
    (guardian, report)
}

/// Lets a guardian do its work, and waits until it has.
fn release(guardian: &mut Child) {
    drop(guardian.stdin.take());
    let _ = guardian.wait();
}

fn read_line(report: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    report.read_line(&mut line).ok().filter(|&length| length > 0)?;
    Some(line.trim_end().to_owned())
}
