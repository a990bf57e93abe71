//! Names of variables that look like settings but are not.

/// Names with the prefix of a setting that `compose.yaml`, libraries or single commands use.
const OTHERS: [&str; 4] = ["MAIL_PORT", "PATIENTS_TOKEN", "HTTP_PROXY", "WITNESS_LOG_KEYS"];
/// Prefix of the many variables that the OpenTelemetry SDK reads.
const OPEN_TELEMETRY: &str = "OTEL_";
/// Prefix that users may expect, but that the settings do not have.
const PATIENTS: &str = "PATIENTS_";
/// Minimum length of a name that is compared by edit distance. Shorter names are close to too many others.
const SHORTEST: usize = 6;

/// Returns the setting that an unknown name probably misspells.
pub(crate) fn close<'s>(name: &str, settings: &'s [String]) -> Option<&'s str> {
    let upper = name.to_uppercase();
    if is_known(name, settings) || name.len() < SHORTEST {
        return None;
    }
    let stripped = upper.strip_prefix(PATIENTS).unwrap_or(&upper);
    settings
        .iter()
        .map(|setting| (strsim::osa_distance(stripped, setting), setting))
        .filter(|(distance, setting)| *distance <= setting.len() / 8)
        .min()
        .map(|(_, setting)| setting.as_str())
}

/// Whether a name is not a setting but begins like a setting.
pub(crate) fn looks_like_a_setting(name: &str, settings: &[String]) -> bool {
    let upper = name.to_uppercase();
    let begins_like = |setting: &String| {
        setting.split_once('_').is_some_and(|(first, _)| {
            upper
                .strip_prefix(first)
                .is_some_and(|rest| rest.starts_with('_'))
        })
    };
    !is_known(name, settings)
        && !upper.starts_with(OPEN_TELEMETRY)
        && (upper.starts_with(PATIENTS) || settings.iter().any(begins_like))
}

fn is_known(name: &str, settings: &[String]) -> bool {
    OTHERS.iter().any(|other| other.eq_ignore_ascii_case(name))
        || settings.iter().any(|setting| setting == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::variables;

    #[test]
    fn a_misspelt_setting_is_recognized() {
        let settings = variables();
        for (name, meant) in [
            ("MAIL_FORM", "MAIL_FROM"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("database_url", "DATABASE_URL"),
            ("PATIENTS_DATABASE_URL", "DATABASE_URL"),
            ("SMTP_URI", "SMTP_URL"),
            ("AUTH_TOKEN", "AUTH_TOKENS"),
            ("SHUTDOWN_TIME_OUT", "SHUTDOWN_TIMEOUT"),
        ] {
            assert_eq!(close(name, &settings), Some(meant), "{name}");
        }
        for name in [
            "LOG",
            "LOGNAME",
            "LANG",
            "USER",
            "PATH",
            "HOSTNAME",
            "SSL_CERT_FILE",
            "API_PORT",
            "MAIL_PORT",
        ] {
            assert_eq!(close(name, &settings), None, "{name}");
        }
    }

    #[test]
    fn a_name_with_the_prefix_of_a_setting_looks_like_one() {
        let settings = variables();
        for name in [
            "MAIL_SERVER",
            "HTTP_PORT",
            "DATABASE_HOST",
            "log_file",
            "PATIENTS_URL",
        ] {
            assert!(looks_like_a_setting(name, &settings), "{name}");
        }
        for name in [
            "MAIL_FROM",
            "MAIL_PORT",
            "WITNESS_LOG_KEYS",
            "http_proxy",
            "OTEL_SERVICE_NAME",
            "MYSQL_PASSWORD",
            "MAIL",
        ] {
            assert!(!looks_like_a_setting(name, &settings), "{name}");
        }
    }
}
