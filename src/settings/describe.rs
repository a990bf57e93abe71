//! The list of all settings, as `patients settings` prints it.

use clap::{Arg, Args, Command};
use serde::Serialize;

use super::Settings;
use crate::output;

/// Width of the list, in columns.
const WIDTH: usize = 80;

/// A setting.
#[derive(Serialize)]
struct Setting {
    variable: String,
    flag: String,
    default: Option<String>,
    description: String,
}

/// Returns the flags that are settings, which are those with an environment variable.
pub(crate) fn arguments() -> Vec<Arg> {
    let command = Settings::augment_args(Command::new("settings"));
    let settings = command.get_arguments().filter(|arg| arg.get_env().is_some());
    settings.cloned().collect()
}

/// Returns the variables of all settings.
pub(crate) fn variables() -> Vec<String> {
    arguments().iter().map(variable).collect()
}

fn variable(setting: &Arg) -> String {
    let name = setting.get_env().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Prints every setting: variable, flag, default and description.
pub(crate) fn print(json: bool) -> anyhow::Result<()> {
    let settings = arguments();
    if json {
        return output::print_json(&settings.iter().map(described).collect::<Vec<_>>());
    }
    let mut list = Command::new("settings")
        .disable_help_flag(true)
        .term_width(WIDTH)
        .next_line_help(true)
        .help_template("{all-args}")
        .args(settings.into_iter().map(|setting| setting.hide_env(true)));
    output::print(&format!(
        "Each setting has a flag and, in brackets, an environment variable. A flag takes\n\
         precedence over the environment, and the environment over a line of .env. An\n\
         empty variable counts as not set.\n\n{}",
        list.render_help()
    ))
}

fn described(setting: &Arg) -> Setting {
    let default = setting.get_default_values().first();
    Setting {
        variable: variable(setting),
        flag: format!("--{}", setting.get_long().unwrap_or_default()),
        default: default.map(|value| value.to_string_lossy().into_owned()),
        description: setting.get_help().map(ToString::to_string).unwrap_or_default(),
    }
}
