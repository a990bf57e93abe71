//! Registered domains of email addresses, to recognize addresses of one owner.

use std::sync::Arc;

/// Returns the registered domain, whose owner controls all names under it: the last two labels of an
/// address's domain, or three if the last two are short, as in `example.co.uk`. If separate domains are
/// treated as one, their rejections only take longer to count.
pub(super) fn registered_domain(email: &str) -> Arc<str> {
    let domain = email
        .rsplit_once('@')
        .map_or("", |(_, domain)| domain)
        .to_lowercase();
    let labels: Vec<_> = domain.trim_end_matches('.').split('.').collect();
    let short = matches!(labels.as_slice(), [.., second, top] if top.len() == 2 && second.len() <= 3);
    let used = labels.len().min(if short { 3 } else { 2 });
    labels[labels.len() - used..].join(".").into()
}

#[cfg(test)]
mod tests {
    use super::registered_domain;

    #[test]
    fn names_under_one_registered_domain_are_related() {
        for (email, domain) in [
            ("ana@example.com", "example.com"),
            ("ana@a.b.Example.com", "example.com"),
            ("ana@x1.evil.co.uk", "evil.co.uk"),
            ("ana@clinic.de", "clinic.de"),
            ("ana@mail.clinic.de.", "clinic.de"),
            ("ana@localhost", "localhost"),
            ("ana", ""),
            ("ana@", ""),
        ] {
            assert_eq!(&*registered_domain(email), domain, "{email}");
        }
    }
}
