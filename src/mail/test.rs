//! `patients mail test`.

use std::io::Write;

use anyhow::bail;
use eventstore::{Clock, SystemClock};
use mailer::{StepResult, TestStep};

use super::configured::MailParts;
use crate::output::{self, OutputFormat};
use crate::settings::Settings;

/// Sends one test email. Fails if the server does not accept the email.
pub(super) async fn test(settings: &Settings, to: &str, format: OutputFormat) -> anyhow::Result<()> {
    let parts = MailParts::load(settings)?;
    let mailer = parts.sample_mailer(settings, settings.mail.timeouts())?;
    let test = mailer.test(to, SystemClock.now()).await?;
    let mut out = Vec::new();
    if format.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&test)?)?;
    } else {
        writeln!(out, "{}", test.server)?;
        for TestStep { step, result } in &test.steps {
            match result {
                StepResult::Passed => writeln!(out, "  ok      {step}")?,
                StepResult::Failed(failure) => {
                    writeln!(out, "  FAILED  {step}: {failure}")?;
                    for line in test.reply.iter().flat_map(|reply| reply.lines()) {
                        let line: String = line.chars().filter(|c| !c.is_control()).collect();
                        writeln!(out, "          the server said: {line}")?;
                    }
                    if let Some(advice) = test.advice {
                        writeln!(out, "          {advice}")?;
                    }
                }
                StepResult::NotOffered => {
                    writeln!(
                        out,
                        "  none    {step}: not offered, so the email was sent unencrypted"
                    )?;
                }
                StepResult::NotReached => writeln!(out, "  -       {step}")?,
            }
        }
        if test.sent {
            writeln!(out, "sent to {to}")?;
        }
    }
    output::write(&out)?;
    if test.sent {
        Ok(())
    } else {
        bail!("the test email was not sent")
    }
}
