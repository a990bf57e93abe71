use super::*;

#[test]
fn clap_accepts_the_definition_of_the_command_line() {
    Cli::command().debug_assert();
}

#[test]
fn serving_is_the_default_and_settings_may_follow_the_command() {
    assert_eq!(Cli::try_parse_from(["patients"]).unwrap().command, None);
    let cli = Cli::try_parse_from(["patients", "api", "--http-addr", "127.0.0.1:9"]).unwrap();
    assert_eq!(cli.command, Some(Command::Api));
    assert_eq!(cli.settings.http_addr.port(), 9);
}

#[test]
fn an_invalid_setting_is_an_error_with_the_expected_value() {
    for (flag, value, expected) in [
        (
            "--http-addr",
            "8000",
            "an address and a port, such as 127.0.0.1:8000",
        ),
        ("--shutdown-timeout", "ten", "a duration, such as 10s or 500ms"),
        ("--append-batch", "0", "1..=1000"),
        ("--redis-channel", "", "1 to 200 visible ASCII characters"),
        (
            "--redis-channel",
            "of two words",
            "1 to 200 visible ASCII characters",
        ),
    ] {
        let error = Cli::try_parse_from(["patients", flag, value])
            .unwrap_err()
            .to_string();
        assert!(error.contains(flag) && error.contains(expected), "{error}");
    }
}

#[test]
fn an_invalid_url_is_not_repeated_because_it_may_contain_a_password() {
    for (flag, setting, expected) in [
        (
            "--database-url",
            "DATABASE_URL",
            "mysql://user:password@host/name or sqlite://path",
        ),
        (
            "--redis-url",
            "REDIS_URL",
            "redis://host:port, rediss://host:port, or redis+sentinel://host:port,host:port/master",
        ),
        (
            "--smtp-url",
            "SMTP_URL",
            "smtp://host:port or smtps://user:password@host:port",
        ),
    ] {
        let cli = Cli::try_parse_from(["patients", flag, "postgres://user:hunter2@host"]).unwrap();
        let error = cli.settings.check().unwrap_err();
        assert!(
            error.contains(flag) && error.contains(setting) && error.contains(expected),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn secrets_in_the_environment_are_not_shown_in_help() {
    let named_for_secrets = ["URL", "ENDPOINT", "TOKEN", "KEY_FILE", "PASSWORD", "SECRET"];
    let command = Cli::command();
    let secret: Vec<_> = command
        .get_arguments()
        .filter(|arg| {
            let setting = arg.get_env().unwrap_or_default().to_string_lossy();
            // A list of URL schemes is not a URL.
            !setting.ends_with("_SCHEMES") && named_for_secrets.iter().any(|part| setting.contains(part))
        })
        .collect();
    assert!(secret.len() >= 9, "{secret:?}");
    for arg in secret {
        assert!(
            arg.is_hide_env_values_set(),
            "{} is shown with its value",
            arg.get_id()
        );
    }
}

#[test]
fn a_password_in_a_flag_causes_a_warning_and_one_in_the_environment_does_not() {
    let noticed = |arguments: &[&str]| {
        let arguments = ["patients"].iter().chain(arguments);
        passwords_in_flags(&Cli::command().try_get_matches_from(arguments).unwrap())
    };
    let url = "mysql://user:hunter2@host/name";
    assert_eq!(noticed(&["--database-url", url, "api"]), ["database-url"]);
    assert_eq!(noticed(&["mailer", "--smtp-url=smtps://u:p@h"]), ["smtp-url"]);
    assert_eq!(noticed(&["api", "--redis-url", "redis://:p@h:1"]), ["redis-url"]);
    for harmless in [
        "mysql://root@host/name",
        "sqlite://a:b",
        "mysql://root:@host/name",
    ] {
        assert!(
            noticed(&["api", "--database-url", harmless]).is_empty(),
            "{harmless}"
        );
    }
}

/// Returns the output of `--help` after these words.
fn help(words: &[String]) -> String {
    let words = ["patients".to_owned()].into_iter().chain(words.iter().cloned());
    let shown = parser().try_get_matches_from(words.chain(["--help".to_owned()]));
    shown.unwrap_err().to_string()
}

/// Collects the words of `command` and of every command below it.
fn every_command(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
    all.push(words.to_vec());
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
    {
        every_command(below, &[words, &[below.get_name().to_owned()]].concat(), all);
    }
}

#[test]
fn the_help_of_every_command_fits_a_screen_and_lists_no_settings() {
    let mut all = Vec::new();
    every_command(&parser(), &[], &mut all);
    assert!(all.len() > 25, "{all:?}");
    for words in all {
        let help = help(&words);
        assert!(help.contains("Usage: patients"), "{help}");
        assert!(
            help.lines().count() <= 40,
            "{} lines:\n{help}",
            help.lines().count()
        );
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?} columns:\n{help}");
        assert!(
            !help.contains("--database-url") && !help.contains("[env:"),
            "{help}"
        );
    }
}

#[test]
fn every_setting_is_accepted_before_and_after_every_command() {
    let mut all = Vec::new();
    every_command(&parser(), &[], &mut all);
    for setting in settings::arguments() {
        let flag = format!("--{}", setting.get_long().unwrap());
        for words in &all {
            // The value is wrong, or a command is incomplete, but the flag is always known.
            let arguments = [&["patients".to_owned()], &words[..], &[format!("{flag}=x")]].concat();
            if let Err(error) = parser().try_get_matches_from(arguments) {
                assert_ne!(
                    error.kind(),
                    ErrorKind::UnknownArgument,
                    "{words:?} {flag}: {error}"
                );
            }
        }
    }
}

#[test]
fn only_commands_accept_wait() {
    let wait = |words: &[&str]| {
        let arguments = ["patients"].iter().chain(words);
        Cli::try_parse_from(arguments).map(|cli| cli.wait)
    };
    assert_eq!(wait(&["migrate"]).unwrap(), Duration::from_secs(10));
    assert_eq!(wait(&["audit", "head", "--wait", "0"]).unwrap(), Duration::ZERO);
    assert_eq!(
        wait(&["--wait", "1m", "audit", "head"]).unwrap(),
        Duration::from_mins(1)
    );
    for wrong in ["-1", "ten", "", "10", "25h"] {
        assert!(wait(&["migrate", &format!("--wait={wrong}")]).is_err(), "{wrong}");
    }
}
