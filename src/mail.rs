//! Mail: the mailer's parts, from the settings; and `patients mail`.

mod command;
mod desk;
mod list;
mod preview;
mod retry;
mod status;
mod test;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use eventstore::{Clock, EventLog};
use mailer::{Composer, Dkim, MailHandler, Options, Sender, SmtpOptions, Templates, Transport, Worker};

use crate::settings::Settings;

pub(crate) use command::{MailCommand, run};
pub(crate) use desk::desk;

/// The mailer, ready to run.
pub(crate) struct Mail {
    /// Its subscription's handler.
    pub(crate) handler: MailHandler,
    /// What sends.
    pub(crate) worker: Worker,
    /// Where mail goes, for people.
    pub(crate) place: String,
}

/// Makes the mailer; every template is rendered once, so that a wrong one is found now.
pub(crate) fn start(
    settings: &Settings,
    owner: &str,
    log: &EventLog,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Mail> {
    let composer = composer(settings, None)?;
    let transport = transport(settings)?;
    let place = transport.describe();
    let options = Options {
        concurrency: settings.mail_concurrency.into(),
        timeouts: settings.mail_timeouts(),
        poll: settings.poll_interval,
        rate: settings.mail_rate,
    };
    let (handler, wake) = mailer::handler(Arc::clone(&clock), settings.mail_on_delete);
    let worker = Worker::new(log.clone(), clock, composer, transport, options, wake).with_owner(owner);
    Ok(Mail {
        handler,
        worker,
        place,
    })
}

/// What makes mails, in `language` or those of the settings.
fn composer(settings: &Settings, language: Option<&str>) -> anyhow::Result<Composer> {
    let sender: Sender = settings.mail_from.parse().context("MAIL_FROM")?;
    let dkim = dkim(settings, &sender)?;
    let languages = match language {
        Some(language) => language.parse().context("--language")?,
        None => settings.mail_language.parse().context("MAIL_LANGUAGE")?,
    };
    let templates = match &settings.mail_templates {
        Some(folder) => Templates::in_folder(folder).context("MAIL_TEMPLATES")?,
        None => Templates::built_in()?,
    };
    let composer = Composer::new(templates, languages, sender);
    Ok(match dkim {
        Some(dkim) => composer.with_dkim(dkim),
        None => composer,
    })
}

/// What mails are signed with, if they are.
fn dkim(settings: &Settings, sender: &Sender) -> anyhow::Result<Option<Dkim>> {
    // Compose files say "not set" with an empty value.
    let given = |setting: &Option<String>| setting.clone().filter(|value| !value.is_empty());
    let domain = given(&settings.mail_dkim_domain);
    match (&settings.mail_dkim_key_file, given(&settings.mail_dkim_selector)) {
        (None, None) if domain.is_none() => Ok(None),
        (None, _) => {
            bail!("MAIL_DKIM_KEY_FILE: expected the file of the key, since the rest of MAIL_DKIM_… is set")
        }
        (Some(_), None) => {
            bail!("MAIL_DKIM_SELECTOR: expected the selector of the key in MAIL_DKIM_KEY_FILE")
        }
        (Some(file), Some(selector)) => {
            let pem = std::fs::read_to_string(file)
                .with_context(|| format!("MAIL_DKIM_KEY_FILE {} cannot be read", file.display()))?;
            let domain = domain.unwrap_or_else(|| sender.domain().to_owned());
            Dkim::new(&pem, &selector, &domain)
                .map(Some)
                .context("MAIL_DKIM_…")
        }
    }
}

/// The way mail leaves.
fn transport(settings: &Settings) -> anyhow::Result<Transport> {
    let Some(url) = settings.smtp_url() else {
        return Ok(Transport::outbox(PathBuf::from(&settings.mail_outbox)));
    };
    let extra_authorities = settings
        .mail_ca_file
        .as_ref()
        .map(|file| {
            std::fs::read(file).with_context(|| format!("MAIL_CA_FILE {} cannot be read", file.display()))
        })
        .transpose()?;
    let options = SmtpOptions {
        extra_authorities,
        connect_timeout: settings.mail_connect_timeout,
    };
    Transport::smtp(url, &options).context("SMTP_URL")
}
