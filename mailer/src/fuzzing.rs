//! Access to private code for the fuzz targets (`tests/fuzz`).

use crate::error::{AttemptError, SmtpFailure, Step};
use crate::message::Mail;
use crate::transport::scripted;

/// Sends `mail` to the server at `url`, which answers only with `replies`. If sending fails, returns the
/// failed step and the failure. No connection is made, so `url` must not use encryption. The client's output
/// is appended to `said`.
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
    said: &mut Vec<u8>,
) -> Option<Result<(), (Step, SmtpFailure, AttemptError)>> {
    scripted::deliver(url, replies, mail, said).await
}
