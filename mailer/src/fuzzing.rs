//! An entrance to what is private otherwise, for the fuzz targets (`tests/fuzz`).

use crate::error::{AttemptError, SmtpFailure, Step};
use crate::message::Mail;
use crate::transport::scripted;

/// What comes of handing `mail` to the server that `url` describes, if all it ever says is `replies`; and, if
/// that failed, the step and how. Nothing is connected to, so the URL has to be one without encryption. What
/// was said to the server is written to `said`.
///
/// # Errors
///
/// [`AttemptError`]; nothing if the URL is not one.
pub async fn deliver(
    url: &str,
    replies: &[u8],
    mail: &Mail,
    said: &mut Vec<u8>,
) -> Option<Result<(), (Step, SmtpFailure, AttemptError)>> {
    scripted::deliver(url, replies, mail, said).await
}
