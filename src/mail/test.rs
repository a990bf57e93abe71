//! `patients mail test`.

use std::io::Write;

use anyhow::bail;
use eventstore::{Clock, SystemClock};
use mailer::Tried;
use serde_json::{Value, json};

use super::command::Form;
use super::{composer, transport};
use crate::settings::Settings;

/// Sends one test mail; fails if the server did not take it.
pub(super) async fn test(settings: &Settings, to: &str, form: Form) -> anyhow::Result<()> {
    let mail = composer(settings, None)?.test(to, SystemClock.now())?;
    let transport = transport(settings)?;
    let place = transport.describe();
    let trial = transport.try_out(&mail, settings.mail_timeouts()).await?;
    let mut out = std::io::stdout().lock();
    if form.json {
        let steps: Vec<_> = trial
            .steps
            .iter()
            .map(|(step, tried)| {
                let (result, error) = match tried {
                    Tried::Passed => ("passed", None),
                    Tried::Failed(failure) => ("failed", Some(failure.to_string())),
                    Tried::NotOffered => ("not offered", None),
                    Tried::NotReached => ("not reached", None),
                };
                json!({ "step": step.to_string(), "result": result, "error": error })
            })
            .collect();
        let answer = json!({
            "server": place, "sent": trial.passed(), "steps": Value::from(steps),
            "said": trial.said, "advice": trial.advice,
        });
        writeln!(out, "{answer:#}")?;
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
                    writeln!(out, "  none    {step}: not offered, so the mail went in plain")?;
                }
                Tried::NotReached => writeln!(out, "  -       {step}")?,
            }
        }
        if trial.passed() {
            writeln!(out, "sent to {to}")?;
        }
    }
    if trial.passed() {
        Ok(())
    } else {
        bail!("the test mail was not sent")
    }
}
