//! Running the program under test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

use crate::guardian::{Folder, Process, guarded};
use crate::service::tail;

/// A program under test: the real binary in a clean environment, with captured output.
pub struct Program {
    command: Command,
    stdout: PathBuf,
    stderr: PathBuf,
    process: Process,
    _folder: Folder,
}

impl Program {
    /// Starts a command: its program (an absolute path), arguments, working directory and environment. Of
    /// this process's environment, only `PATH` and `HOME` are inherited. Without a working directory, the
    /// program runs in an empty one.
    ///
    /// ```no_run
    /// # use std::process::Command;
    /// # let folder = std::path::Path::new("/");
    /// let mut command = Command::new("/path/to/patients"); // env!("CARGO_BIN_EXE_patients")
    /// command.arg("serve").env("HTTP_ADDR", "127.0.0.1:8000").current_dir(folder);
    /// let program = testkit::Program::start(&command);
    /// ```
    pub fn start(command: &Command) -> Self {
        let folder = Folder::new();
        let stdout = folder.path().join("stdout");
        let stderr = folder.path().join("stderr");
        let mut guarded = guarded(command.get_program(), &stdout, &stderr);
        guarded.args(command.get_args()).env_clear();
        let passed = ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        guarded.envs(passed);
        guarded.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let own = folder.path().join("cwd");
        std::fs::create_dir(&own).expect("the folder can be written to");
        guarded.current_dir(command.get_current_dir().unwrap_or(&own));
        let process = Process::start(&mut guarded);
        Self {
            command: guarded,
            stdout,
            stderr,
            process,
            _folder: folder,
        }
    }

    /// Returns the pid of the process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the process is still running.
    pub fn is_running(&self) -> bool {
        self.process.status().is_none()
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub async fn kill9(&self) {
        self.process.kill().await;
    }

    /// Sends SIGTERM without waiting for the exit.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by name, such as `INT` or `STOP`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for the exit and returns the status, as a shell does: 128 + the signal number if a signal killed
    /// the process.
    ///
    /// # Panics
    /// If the process has not exited after `deadline`.
    pub async fn wait(&self, deadline: Duration) -> i32 {
        timeout(deadline, self.process.exited())
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "the program has not exited after {deadline:?}; its log:\n{}",
                    self.log()
                )
            })
    }

    /// Kills the process if it runs, and starts it again with the same command. The output continues in the
    /// same files.
    pub async fn restart(&mut self) {
        self.process.kill().await;
        self.process = Process::start(&mut self.command);
    }

    /// Returns the standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// Returns the standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Returns the standard output so far, followed by the standard error.
    pub fn log(&self) -> String {
        self.stdout() + &self.stderr()
    }
}

impl Drop for Program {
    #[expect(clippy::print_stderr, reason = "the output explains why the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let program = self.command.get_args().skip(5).map(|part| part.to_string_lossy());
            let line = program.collect::<Vec<_>>().join(" ");
            eprintln!("{line}\n-- end of stdout:\n{}", tail(&self.stdout));
            eprintln!("-- end of stderr:\n{}\n--", tail(&self.stderr));
        }
    }
}
