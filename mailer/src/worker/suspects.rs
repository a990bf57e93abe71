//! Emails that the server rejected or deferred since it last accepted an email, for reasons that may apply to
//! all mail.
//!
//! Anyone who can register chooses an address, and can thereby cause rejections. A rejection therefore counts
//! against the server only if emails to unrelated domains are rejected too. A domain that was rejected while
//! others were accepted no longer counts.

use std::collections::VecDeque;
use std::sync::Arc;

use super::breaker::MailKey;

/// Maximum number of suspects, and of unreliable domains, to remember.
const MOST: usize = 256;
/// Number of unrelated domains that must be rejected before the server counts as rejecting all mail.
const DOMAINS_REFUSED: usize = 3;
/// Number of emails to fewer domains that must be rejected before emails to those domains wait for others.
const MAILS_REFUSED: usize = 5;
/// The same numbers for deferred emails. They are lower because slowing down does less harm than stopping.
const DOMAINS_PUT_OFF: usize = 2;
const MAILS_PUT_OFF: usize = 3;

/// How the server responded to an email that it did not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Permanently, with a 5xx reply.
    Refused,
    /// Temporarily, with a 4xx reply or without a reply.
    PutOff,
}

/// Combined evidence of the suspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// No evidence about the server.
    None,
    /// Every email to these few domains is affected, and no other email has been tried.
    Domains,
    /// Emails to unrelated domains are affected.
    All,
}

/// Suspect emails, and domains whose rejections are ignored.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    since_success: VecDeque<(MailKey, Arc<str>, Kind)>,
    unreliable: VecDeque<Arc<str>>,
}

impl Suspects {
    /// Adds an email and returns the combined evidence of all suspects of this kind.
    pub(super) fn add(&mut self, mail: MailKey, domain: &Arc<str>, kind: Kind) -> Extent {
        let known = |(known, _, as_kind): &(MailKey, Arc<str>, Kind)| *known == mail && *as_kind == kind;
        if !self.since_success.iter().any(known) {
            push(&mut self.since_success, (mail, Arc::clone(domain), kind));
        }
        let alike = || self.since_success.iter().filter(|(_, _, other)| *other == kind);
        let mut domains: Vec<_> = alike().map(|(_, domain, _)| domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let (many_domains, many_mails) = match kind {
            Kind::Refused => (DOMAINS_REFUSED, MAILS_REFUSED),
            Kind::PutOff => (DOMAINS_PUT_OFF, MAILS_PUT_OFF),
        };
        if domains.len() >= many_domains {
            Extent::All
        } else if alike().count() >= many_mails {
            Extent::Domains
        } else {
            Extent::None
        }
    }

    /// Clears all suspects after an email to `domain` was accepted. `disproved` means that the suspects had
    /// opened the breaker. Their domains are then ignored until an email to them is accepted.
    pub(super) fn clear(&mut self, domain: &Arc<str>, disproved: bool) {
        for (_, suspect, _) in self.since_success.drain(..) {
            if disproved && !self.unreliable.contains(&suspect) {
                push(&mut self.unreliable, suspect);
            }
        }
        self.unreliable.retain(|unreliable| unreliable != domain);
    }

    /// Whether rejections of emails to that domain are ignored.
    pub(super) fn is_unreliable(&self, domain: &Arc<str>) -> bool {
        self.unreliable.contains(domain)
    }

    /// Whether an email to that domain is a poor probe of the server.
    pub(super) fn is_suspect(&self, domain: &Arc<str>) -> bool {
        self.is_unreliable(domain) || self.since_success.iter().any(|(_, suspect, _)| suspect == domain)
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MOST {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Returns the registered domain, whose owner controls all names under it: the last two labels of an
/// address's domain, or three if the last two are short, as in `example.co.uk`. If separate domains are
/// treated as one, their rejections only take longer to count.
pub(super) fn registrable(email: &str) -> Arc<str> {
    let domain = email
        .rsplit_once('@')
        .map_or("", |(_, domain)| domain)
        .to_lowercase();
    let labels: Vec<_> = domain.trim_end_matches('.').split('.').collect();
    let short = matches!(labels.as_slice(), [.., second, top] if top.len() == 2 && second.len() <= 3);
    let kept = labels.len().min(if short { 3 } else { 2 });
    labels[labels.len() - kept..].join(".").into()
}

#[cfg(test)]
mod tests {
    use super::registrable;

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
            assert_eq!(&*registrable(email), domain, "{email}");
        }
    }
}
