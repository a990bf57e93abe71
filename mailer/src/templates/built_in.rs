//! The built-in templates.

/// All files, with the names that templates use to include them.
pub(super) const FILES: [(&str, &str); 27] = [
    (
        "layout.subject.txt",
        include_str!("../../templates/layout.subject.txt"),
    ),
    ("layout.txt", include_str!("../../templates/layout.txt")),
    ("layout.html", include_str!("../../templates/layout.html")),
    (
        "es/patient_registered.subject.txt",
        include_str!("../../templates/es/patient_registered.subject.txt"),
    ),
    (
        "es/patient_registered.txt",
        include_str!("../../templates/es/patient_registered.txt"),
    ),
    (
        "es/patient_registered.html",
        include_str!("../../templates/es/patient_registered.html"),
    ),
    (
        "en/patient_registered.subject.txt",
        include_str!("../../templates/en/patient_registered.subject.txt"),
    ),
    (
        "en/patient_registered.txt",
        include_str!("../../templates/en/patient_registered.txt"),
    ),
    (
        "en/patient_registered.html",
        include_str!("../../templates/en/patient_registered.html"),
    ),
    (
        "es/patient_amended.subject.txt",
        include_str!("../../templates/es/patient_amended.subject.txt"),
    ),
    (
        "es/patient_amended.txt",
        include_str!("../../templates/es/patient_amended.txt"),
    ),
    (
        "es/patient_amended.html",
        include_str!("../../templates/es/patient_amended.html"),
    ),
    (
        "en/patient_amended.subject.txt",
        include_str!("../../templates/en/patient_amended.subject.txt"),
    ),
    (
        "en/patient_amended.txt",
        include_str!("../../templates/en/patient_amended.txt"),
    ),
    (
        "en/patient_amended.html",
        include_str!("../../templates/en/patient_amended.html"),
    ),
    (
        "es/patient_email_changed.subject.txt",
        include_str!("../../templates/es/patient_email_changed.subject.txt"),
    ),
    (
        "es/patient_email_changed.txt",
        include_str!("../../templates/es/patient_email_changed.txt"),
    ),
    (
        "es/patient_email_changed.html",
        include_str!("../../templates/es/patient_email_changed.html"),
    ),
    (
        "en/patient_email_changed.subject.txt",
        include_str!("../../templates/en/patient_email_changed.subject.txt"),
    ),
    (
        "en/patient_email_changed.txt",
        include_str!("../../templates/en/patient_email_changed.txt"),
    ),
    (
        "en/patient_email_changed.html",
        include_str!("../../templates/en/patient_email_changed.html"),
    ),
    (
        "es/patient_deleted.subject.txt",
        include_str!("../../templates/es/patient_deleted.subject.txt"),
    ),
    (
        "es/patient_deleted.txt",
        include_str!("../../templates/es/patient_deleted.txt"),
    ),
    (
        "es/patient_deleted.html",
        include_str!("../../templates/es/patient_deleted.html"),
    ),
    (
        "en/patient_deleted.subject.txt",
        include_str!("../../templates/en/patient_deleted.subject.txt"),
    ),
    (
        "en/patient_deleted.txt",
        include_str!("../../templates/en/patient_deleted.txt"),
    ),
    (
        "en/patient_deleted.html",
        include_str!("../../templates/en/patient_deleted.html"),
    ),
];

/// Returns the source of a built-in template.
pub(super) fn source(name: &str) -> Option<String> {
    FILES
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, source)| (*source).to_owned())
}
