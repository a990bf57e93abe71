//! The mailer as configured by the settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use eventstore::{Clock, EventLog};
use mailer::{
    Composer, Dkim, EhloName, MailHandler, Options, SampleMailer, Sender, SmtpOptions, Templates, Timeouts,
    Transport, Worker,
};

use crate::settings::Settings;

/// The mailer, ready to run.
pub(crate) struct ConfiguredMailer {
    /// The handler of its subscription.
    pub(crate) handler: MailHandler,
    /// The worker that sends mail.
    pub(crate) worker: Worker,
    /// Description of the mail's destination.
    pub(crate) destination: String,
}

/// Composer and mail server options. Every file that the settings name has been read, and each template has
/// been rendered once.
#[derive(Clone)]
pub(crate) struct MailParts {
    composer: Arc<Composer>,
    smtp: Option<SmtpOptions>,
}

impl MailParts {
    /// Reads the files that the settings name. Blocks.
    pub(crate) fn load(settings: &Settings) -> anyhow::Result<Self> {
        let parts = Self {
            composer: Arc::new(composer(settings)?),
            smtp: settings
                .mail
                .smtp_url()
                .map(|_| smtp_options(settings))
                .transpose()?,
        };
        // Reports an invalid URL immediately.
        parts.transport(settings)?;
        Ok(parts)
    }

    /// Creates the mailer of previews and test emails, with its own connections.
    pub(crate) fn sample_mailer(
        &self,
        settings: &Settings,
        timeouts: Timeouts,
    ) -> anyhow::Result<SampleMailer> {
        let transport = self.transport(settings)?;
        Ok(SampleMailer::new(Arc::clone(&self.composer), transport, timeouts))
    }

    /// Checks that the mail server accepts this client. Sends no email.
    pub(crate) async fn check(&self, settings: &Settings) -> anyhow::Result<()> {
        let transport = self.transport(settings)?;
        Ok(transport.check(settings.mail.timeouts()).await?)
    }

    /// Creates a transport with its own connections.
    fn transport(&self, settings: &Settings) -> anyhow::Result<Transport> {
        match (settings.mail.smtp_url(), &self.smtp) {
            (Some(url), Some(options)) => Transport::smtp(url, options).context("SMTP_URL"),
            _ => Ok(Transport::outbox(PathBuf::from(&settings.mail.mail_outbox))),
        }
    }
}

/// Creates the mailer.
pub(crate) fn start(
    settings: &Settings,
    parts: &MailParts,
    owner: &str,
    log: &EventLog,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<ConfiguredMailer> {
    let transport = parts.transport(settings)?;
    let destination = transport.describe();
    let options = Options {
        concurrency: settings.mail.mail_concurrency.into(),
        timeouts: settings.mail.timeouts(),
        poll: settings.poll_interval,
        rate: settings.mail.mail_rate,
    };
    let (handler, wake) = mailer::handler(Arc::clone(&clock), settings.mail.notices());
    let composer = Arc::clone(&parts.composer);
    let worker = Worker::new(log.clone(), clock, composer, transport, options, wake).with_owner(owner);
    Ok(ConfiguredMailer {
        handler,
        worker,
        destination,
    })
}

/// Creates the composer of emails.
pub(super) fn composer(settings: &Settings) -> anyhow::Result<Composer> {
    let sender: Sender = settings.mail.mail_from.parse().context("MAIL_FROM")?;
    let dkim = dkim(settings, &sender)?;
    let languages = settings.mail.mail_language.parse().context("MAIL_LANGUAGE")?;
    let templates = match &settings.mail.mail_templates {
        Some(folder) => Templates::in_folder(folder).context("MAIL_TEMPLATES")?,
        None => Templates::built_in()?,
    };
    let mut composer = Composer::new(templates, languages, sender);
    if let Some(reply_to) = settings.mail.reply_to() {
        composer = composer.with_reply_to(reply_to);
    }
    if let Some(envelope_from) = settings.mail.envelope_from() {
        composer = composer.with_envelope_from(envelope_from);
    }
    if let Some(url) = settings.public_url().filter(|_| settings.mail.mail_receipt()) {
        composer = composer.with_receipts(url.as_str().to_owned());
    }
    Ok(match dkim {
        Some(dkim) => composer.with_dkim(dkim),
        None => composer,
    })
}

/// Returns the DKIM signer, if it is configured.
fn dkim(settings: &Settings, sender: &Sender) -> anyhow::Result<Option<Dkim>> {
    // Compose files use an empty value for "not set".
    let given = |setting: &Option<String>| setting.clone().filter(|value| !value.is_empty());
    let domain = given(&settings.mail.mail_dkim_domain);
    match (
        &settings.mail.mail_dkim_key_file,
        given(&settings.mail.mail_dkim_selector),
    ) {
        (None, None) if domain.is_none() => Ok(None),
        (None, _) => {
            bail!(
                "MAIL_DKIM_KEY_FILE: expected the file of the key, because other MAIL_DKIM_… settings are set"
            )
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

/// Returns the options of the mail server other than its URL.
fn smtp_options(settings: &Settings) -> anyhow::Result<SmtpOptions> {
    let extra_authorities = settings
        .mail
        .mail_ca_file
        .as_ref()
        .map(|file| {
            std::fs::read(file).with_context(|| format!("MAIL_CA_FILE {} cannot be read", file.display()))
        })
        .transpose()?;
    let ehlo = if let Some(name) = settings.mail.ehlo_name() {
        name
    } else {
        let sender: Sender = settings.mail.mail_from.parse().context("MAIL_FROM")?;
        let host = hostname::get().ok().and_then(|host| host.into_string().ok());
        EhloName::of_machine(host.as_deref(), sender.domain())
    };
    Ok(SmtpOptions {
        extra_authorities,
        ehlo,
    })
}
