//! The Go program that answers questions, and how it is compiled.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// Where Debian installs Go packages.
const GO_PATH: &str = "/usr/share/gocode";

/// The running Go program.
pub(crate) struct Go {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Go {
    /// Starts the program. Returns `None` if Go or its package is not installed and not required.
    pub(crate) fn start() -> Option<Self> {
        static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(program) = PROGRAM.get_or_init(build) else {
            println!("skipped: Go or golang.org/x/mod is not installed; run `scripts/install go`");
            return None;
        };
        let mut command = Command::new(program);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, input, output })
    }

    /// Returns the result, or the reason why Go refuses.
    pub(crate) fn ask(&mut self, question: &[&str]) -> Result<String, String> {
        writeln!(self.input.as_ref().unwrap(), "{}", question.join(" ")).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let line = line.trim_end();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ok", result) => Ok(result.to_owned()),
            ("refused", reason) => {
                assert!(!reason.starts_with("unknown command"), "{reason}");
                Err(reason.to_owned())
            }
            _ => panic!("Go ended, or answered {line:?}"),
        }
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        // The program ends at the end of its input.
        self.input = None;
        self.child.wait().unwrap();
    }
}

/// Compiles the program once for all tests.
fn build() -> Option<PathBuf> {
    let installed = Command::new("go")
        .arg("version")
        .output()
        .is_ok_and(|output| output.status.success())
        && Path::new(GO_PATH)
            .join("src/golang.org/x/mod/sumdb/tlog")
            .is_dir();
    if !installed {
        let required = std::env::var("TEST_GO").is_ok_and(|value| value == "required");
        assert!(!required, "Go is required: run `scripts/install go`");
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // The end-to-end tests of the workspace also use this module.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["tests/go/main.go", "transparency/tests/go/main.go"].map(|path| package.join(path));
    let source = sources.into_iter().find(|path| path.exists()).unwrap();
    // Test processes run at the same time, and each replaces the program as a whole.
    let program = target.join(format!("go-sumdb-{}", std::process::id()));
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PATH)
        .env("GOPROXY", "off")
        .env("GOFLAGS", "")
        .env("GOCACHE", target.join("go-cache"))
        .env("CGO_ENABLED", "0")
        .status()
        .unwrap();
    assert!(built.success(), "the Go program is compiled");
    let shared = target.join("go-sumdb");
    fs::rename(program, &shared).unwrap();
    Some(shared)
}
