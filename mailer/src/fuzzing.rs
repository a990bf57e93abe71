//! Access to private code for the fuzz targets (`tests/fuzz`).

use crate::error::{AttemptError, SmtpFailure, SmtpStep};
use crate::message::Mail;
use crate::transport::scripted;

/// Runs the SMTP session that would send `mail` to the server at `url`, against a simulated server that
/// answers only with `replies`. If sending fails, returns the failed step and the failure. No network
/// connection is made. `url` must not use encryption, because the simulated server has no TLS. The client's
/// output is appended to `output`.
///
/// Returns `None` if `url` is invalid or uses encryption.
///
/// # Errors
///
/// [`AttemptError`], with the step and the failure.
pub async fn deliver(
    url: &str,
    replies: &[u8],
    mail: &Mail,
    output: &mut Vec<u8>,
) -> Option<Result<(), (SmtpStep, SmtpFailure, AttemptError)>> {
    scripted::deliver(url, replies, mail, output).await
}
