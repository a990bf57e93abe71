//! `patients mail test`.

use std::io::Write;

use anyhow::bail;
use eventstore::{Clock, SystemClock};
use mailer::Tried;

use super::command::Form;
use super::{Parts, desk};
use crate::output;
use crate::settings::Settings;

/// Sends one test email. Fails if the server does not accept the email.
pub(super) async fn test(settings: &Settings, to: &str, form: Form) -> anyhow::Result<()> {
    let parts = Parts::load(settings)?;
    let mail = parts.composer.test(to, SystemClock.now())?;
    let transport = parts.transport(settings)?;
    let place = transport.describe();
    let trial = transport.try_out(&mail, settings.mail_timeouts()).await?;
    let passed = trial.passed();
    let mut out = Vec::new();
    if form.json {
        writeln!(
            out,
            "{}",
            serde_json::to_string_pretty(&desk::trial(place, trial))?
        )?;
    } else {
        writeln!(out, "{place}")?;
        for (step, tried) in &trial.steps {
            match tried {
                Tried::Passed => writeln!(out, "  ok      {step}")?,
                Tried::Failed(failure) => {
                    writeln!(out, "  FAILED  {step}: {failure}")?;
                    for line in trial.said.iter().flat_map(|said| said.lines()) {
                        let line: String = line.chars().filter(|c| !c.is_control()).collect();
                        writeln!(out, "          the server said: {line}")?;
                    }
                    if let Some(advice) = trial.advice {
                        writeln!(out, "          {advice}")?;
                    }
                }
                Tried::NotOffered => {
                    writeln!(
                        out,
                        "  none    {step}: not offered, so the email was sent unencrypted"
                    )?;
                }
                Tried::NotReached => writeln!(out, "  -       {step}")?,
            }
        }
        if passed {
            writeln!(out, "sent to {to}")?;
        }
    }
    output::write(&out)?;
    if passed {
        Ok(())
    } else {
        bail!("the test email was not sent")
    }
}
