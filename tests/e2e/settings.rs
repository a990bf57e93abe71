//! The list of settings, the documents that repeat the list, `.env` and the environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::patients;

/// Runs a command. Returns its exit code, standard output and standard error.
pub(crate) fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.env("LOG", "info").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Returns the default of every setting, by variable.
fn settings() -> BTreeMap<String, Option<String>> {
    let (code, stdout, stderr) = ended(patients("settings").arg("--json"));
    assert_eq!(code, 0, "{stderr}");
    let list: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert!(list.len() > 40, "{stdout}");
    list.into_iter()
        .map(|setting| {
            let variable = setting["variable"].as_str().unwrap().to_owned();
            let flag = format!("--{}", variable.to_lowercase().replace('_', "-"));
            assert_eq!(setting["flag"], flag);
            assert!(setting["description"].as_str().unwrap().len() > 10, "{setting}");
            (variable, setting["default"].as_str().map(ToOwned::to_owned))
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The page with the table of settings.
const PAGE: &str = "docs/settings.md";

/// Returns the uppercase names between backticks.
fn names(cell: &str) -> Vec<&str> {
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'0'..=b'9'))
    };
    cell.split('`').skip(1).step_by(2).filter(is_name).collect()
}

#[test]
fn the_table_of_settings_has_every_setting_with_its_default() {
    let mut missing = settings();
    let text = fs::read_to_string(root().join(PAGE)).unwrap();
    let mut is_table_of_settings = false;
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, variables, default, ..] = cells[..] else {
            is_table_of_settings = false;
            continue;
        };
        is_table_of_settings |= variables.starts_with("variable") && default == "default";
        if !is_table_of_settings {
            continue;
        }
        for name in names(variables) {
            let known = missing.remove(name);
            let known = known.unwrap_or_else(|| panic!("{PAGE}: {name}"));
            let shown = default.replace('`', "");
            match known {
                Some(known) => assert_eq!(shown, known, "{PAGE}: {name}"),
                None => assert_eq!(shown, "none", "{PAGE}: {name} has no default"),
            }
        }
    }
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}

/// Returns the entries of `.env.example` without their comment signs, except the entries that only
/// `compose.yaml` reads.
fn example() -> String {
    let text = fs::read_to_string(root().join(".env.example")).unwrap();
    let (ours, _) = text.split_once("# ── compose only ──").unwrap();
    let entries = ours.lines().filter_map(|line| line.strip_prefix("# "));
    let is_entry = |line: &&str| {
        line.split_once('=').is_some_and(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'0'..=b'9'))
        })
    };
    entries.filter(is_entry).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_of_a_dotenv_file_shows_every_default() {
    let mut missing = settings();
    for line in example().lines() {
        let (name, value) = line.split_once('=').unwrap();
        let known = missing.remove(name).unwrap_or_else(|| panic!("{name}"));
        match known {
            Some(known) => assert_eq!(value, known, "{name}"),
            None => assert!(
                value.starts_with(" # "),
                "{name} has no default, and the example shows {value}"
            ),
        }
    }
    assert!(missing.is_empty(), "not in .env.example: {missing:?}");
}

#[test]
fn the_example_of_a_dotenv_file_can_be_used_as_it_is() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(".env"), example()).unwrap();
    let new_token = ["new", "--role", "clerk"];
    let (code, _, stderr) = ended(patients("token").args(new_token).current_dir(folder.path()));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

/// This holds for every setting, both in the environment and in `.env`.
#[test]
fn an_empty_variable_is_not_set() {
    let new_token = ["new", "--role", "clerk"];
    let folder = TempDir::new().unwrap();
    for name in settings().keys() {
        let (code, _, stderr) = ended(patients("token").args(new_token).env(name, ""));
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
    }
    let lines: Vec<String> = settings().keys().map(|name| format!("{name}=")).collect();
    fs::write(folder.path().join(".env"), lines.join("\n")).unwrap();
    let mut command = patients("token");
    let (code, _, stderr) = ended(
        command
            .args(new_token)
            .env_remove("RATE_LIMIT")
            .current_dir(folder.path()),
    );
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_wrong_line_of_dotenv_is_named_and_its_value_is_not_repeated() {
    let folder = TempDir::new().unwrap();
    for (line, expected) in [
        ("SMTP_URL=smtp://u:pa$word@host", "single quotes"),
        ("SMTP_URL smtp://u:word@host", "expected NAME=value"),
        ("SMTP_URL='smtp://u:word@host", "not closed"),
    ] {
        fs::write(folder.path().join(".env"), format!("# first\nLOG=info\n{line}\n")).unwrap();
        for command in ["token new --role clerk", "serve"] {
            let (code, _, stderr) = ended(patients("").args(command.split(' ')).current_dir(folder.path()));
            assert_eq!(code, 2, "{stderr}");
            assert!(
                stderr.contains(".env, line 3: ") && stderr.contains(expected),
                "{stderr}"
            );
            assert!(!stderr.contains("word@host"), "{stderr}");
        }
        let (code, ..) = ended(patients("--help").current_dir(folder.path()));
        assert_eq!(code, 0, "help needs no settings");
    }
}

#[test]
fn the_line_of_dotenv_that_sets_an_invalid_value_is_named() {
    let folder = TempDir::new().unwrap();
    for (line, name) in [
        ("HTTP_ADDR=nonsense", "HTTP_ADDR"),
        ("RETENTION=abc", "RETENTION"),
        ("MAIL_CONCURRENCY=-5", "MAIL_CONCURRENCY"),
        ("EMAIL_UNIQUE=sometimes", "EMAIL_UNIQUE"),
        ("LOG_FORMAT=xml", "LOG_FORMAT"),
        ("REDIS_URL=http://host", "REDIS_URL"),
    ] {
        fs::write(folder.path().join(".env"), format!("# first\nLOG=info\n{line}\n")).unwrap();
        let place = format!(".env, line 3, sets {name}");
        let mut command = patients("token");
        command.args(["new", "--role", "clerk"]);
        let (code, _, stderr) = ended(command.env_remove(name).current_dir(folder.path()));
        assert_eq!(code, 2, "{stderr}");
        assert_eq!(stderr.matches(&place).count(), 1, "{stderr}");
        // The environment takes precedence.
        let value = line.split_once('=').unwrap().1;
        let mut command = patients("token");
        command.args(["new", "--role", "clerk"]);
        let (code, _, stderr) = ended(command.env(name, value).current_dir(folder.path()));
        assert!(code == 2 && !stderr.contains(".env, line"), "{stderr}");
    }
}

#[test]
fn a_misspelt_variable_is_warned_of_with_its_line() {
    let folder = TempDir::new().unwrap();
    let content = "MAIL_FORM=a@example.com\nHTTP_PORT=8000\nEDITOR=vi\nMAIL_PORT=8025\nLOG=info\nLOG=debug\n";
    fs::write(folder.path().join(".env"), content).unwrap();
    let new_token = ["new", "--role", "clerk"];
    let mut command = patients("token");
    let (code, _, stderr) = ended(
        command
            .args(new_token)
            .env("DATABSE_URL", "mysql://u:hunter2@host/name")
            .current_dir(folder.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    for expected in [
        ".env, line 1: MAIL_FORM is not a setting; did you mean MAIL_FROM?",
        ".env, line 2: HTTP_PORT is not a setting; `patients settings` lists them",
        ".env, line 6: LOG is ignored, because line 5 sets it",
        "the variable DATABSE_URL is not a setting; did you mean DATABASE_URL?",
    ] {
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
    assert_eq!(stderr.lines().count(), 4, "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn the_list_of_settings_shows_no_secret_and_fits_80_columns() {
    let (code, stdout, stderr) = ended(
        patients("settings")
            .env("DATABASE_URL", "mysql://u:hunter2@h/n")
            .env("SMTP_URL", "smtp://u:hunter2@h"),
    );
    assert_eq!(code, 0, "{stderr}");
    for setting in settings().keys() {
        assert!(stdout.contains(&format!("<{setting}>")), "{setting}: {stdout}");
    }
    assert!(!stdout.contains("hunter2"), "{stdout}");
    let widest = stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{stdout}");
}
