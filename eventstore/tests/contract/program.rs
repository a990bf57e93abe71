//! Runs the examples of this package as separate processes.

use std::path::PathBuf;
use std::process::Command;

use testkit::Program;

/// Starts `examples/NAME.rs`, which cargo builds together with the tests.
pub(crate) fn start(name: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new(example(name));
    command.args(arguments);
    Program::start(&command)
}

/// Returns `target/PROFILE/examples/NAME`, based on the path of this test,
/// `target/PROFILE/deps/contract-HASH`.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is not there: `cargo test --package eventstore` builds it, `--test contract` alone does not; \
         see `cargo build --package eventstore --examples`",
        program.display()
    );
    program
}
