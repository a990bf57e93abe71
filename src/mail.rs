//! The mailer as configured by the settings, and `patients mail`.

mod command;
mod configured;
mod database;
mod list;
mod preview;
mod retry;
mod status;
mod test;

pub(crate) use command::{MailCommand, run};
pub(crate) use configured::{MailParts, start};
