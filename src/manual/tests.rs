use super::*;

#[test]
fn every_command_is_completed_and_has_a_manual_page() {
    let pages = pages().unwrap();
    let bash = String::from_utf8(script(Shell::Bash)).unwrap();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut waiting: Vec<_> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .collect();
    for command in &waiting {
        let name = command.get_name();
        assert!(bash.contains(&format!("patients,{name})")), "{name}");
    }
    while let Some(command) = waiting.pop() {
        let name = format!("{}.1", command.get_display_name().unwrap_or_default());
        assert!(pages.iter().any(|(file, _)| *file == name), "{name}");
        waiting.extend(command.get_subcommands());
    }
}

#[test]
fn settings_are_in_the_page_of_the_program_and_completed_before_a_subcommand() {
    for (file, page) in pages().unwrap() {
        let page = String::from_utf8(page).unwrap();
        assert_eq!(page.contains("SMTP_URL"), file == "patients.1", "{file}");
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = String::from_utf8(script(shell)).unwrap();
        assert!(script.contains("database-url"), "{shell}");
        assert!(script.len() < 200_000, "{shell}: {} bytes", script.len());
    }
}
