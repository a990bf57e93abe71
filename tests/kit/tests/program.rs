//! Tests that a program under test runs in a clean environment and handles signals.

use std::process::Command;
use std::time::Duration;

use testkit::{Program, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

async fn says(program: &Program, word: &str) {
    wait_until(SOON, word, async || program.stdout().contains(word)).await;
}

#[tokio::test]
async fn it_has_only_the_environment_it_is_given_and_keeps_both_outputs() {
    let program = Program::start(shell("env; echo problem >&2; exit 3").env("COLOUR", "light blue"));
    assert_eq!(program.wait(SOON).await, 3);
    let stdout = program.stdout();
    let mut names: Vec<_> = stdout
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)); // the shells' own
    names.sort_unstable();
    assert_eq!(names, ["COLOUR", "HOME", "PATH"]);
    assert!(stdout.contains("COLOUR=light blue\n"));
    assert_eq!(program.stderr(), "problem\n");
    assert!(program.log().contains("light blue") && program.log().contains("problem"));
}

#[tokio::test]
async fn signals_reach_the_program_itself() {
    let program = Program::start(&shell(
        "trap 'echo bye; exit 5' TERM; echo pid $$; while :; do sleep 0.05; done",
    ));
    says(&program, &format!("pid {}\n", program.pid())).await;
    assert!(program.is_running());
    program.terminate();
    assert_eq!(program.wait(SOON).await, 5);
    assert!(!program.is_running());
    assert!(program.stdout().contains("bye"));
}

#[tokio::test]
async fn a_killed_program_says_so_and_starts_again_with_what_it_started_with() {
    let mut program = Program::start(&shell("echo started; exec sleep 1000"));
    says(&program, "started\n").await;
    program.kill9().await;
    assert_eq!(program.wait(SOON).await, 137);
    program.restart().await;
    says(&program, "started\nstarted\n").await;
}

#[tokio::test]
async fn what_the_program_started_goes_with_it() {
    let program = Program::start(&shell("mkfifo pipe; echo $PWD/pipe; sleep 1000 >pipe & wait"));
    says(&program, "/pipe\n").await;
    let path = program.stdout().trim().to_owned();
    let (opened, child_lives) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut pipe = std::fs::File::open(path).unwrap();
        opened.send(()).unwrap();
        std::io::copy(&mut pipe, &mut std::io::sink()).unwrap()
    });
    child_lives.recv_timeout(SOON).unwrap();
    assert!(!reader.is_finished());
    drop(program);
    wait_until(SOON, "the child's end of the pipe is closed", async || {
        reader.is_finished()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "after 50ms, this is still not true: the moon is cheese")]
async fn a_wait_for_what_never_comes_says_what_it_was() {
    wait_until(Duration::from_millis(50), "the moon is cheese", async || false).await;
}
