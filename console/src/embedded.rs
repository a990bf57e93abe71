//! The embedded files.

use std::sync::LazyLock;

use web::file::File;
use web::files::{Files, HTML, SCRIPT, STYLE};

macro_rules! file {
    ($media_type:expr, $name:literal) => {
        File::plain(
            $media_type,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $name)),
        )
    };
}

macro_rules! files {
    ($($media_type:ident: $($name:literal)+;)+) => {
        LazyLock::new(|| Files::new([$($(($name, file!($media_type, $name)),)+)+]))
    };
}

/// The page at `/console`.
pub(crate) static PAGE: LazyLock<File> = LazyLock::new(|| file!(HTML, "index.html"));

/// The files that the page loads, by path below `/console/`.
pub(crate) static FILES: LazyLock<Files> = files! {
    STYLE: "base.css" "console.css";
    SCRIPT:
        "api.js"
        "app.js"
        "chart.js"
        "details.js"
        "en.js"
        "es.js"
        "events.js"
        "html.js"
        "i18n.js"
        "issuer.js"
        "log-format.js"
        "measurements.js"
        "message.js"
        "pages/checkpoints.js"
        "pages/checks.js"
        "pages/delivery.js"
        "pages/export.js"
        "pages/log.js"
        "pages/mail-trial.js"
        "pages/mail.js"
        "pages/overview.js"
        "pages/patient.js"
        "pages/patients.js"
        "pages/privacy.js"
        "pages/projections.js"
        "pages/reads.js"
        "pages/register.js"
        "pages/timeline.js"
        "pages/verification.js"
        "receipt.js"
        "router.js"
        "scheme.js"
        "session.js"
        "sign-in.js"
        "stream.js"
        "trust.js"
        "ui.js"
        "vendor/hooks.js"
        "vendor/htm.js"
        "vendor/preact.js";
};

#[cfg(test)]
mod tests;
