//! Mails that were refused or put off for reasons that may hold for every mail, since a mail was accepted
//! last.
//!
//! Whoever may register chooses addresses, and so decides what some mails are refused for. So a refusal
//! counts against the server only if mails to unrelated domains meet it too; and a domain that was refused
//! while others were not counts no more.

use std::collections::VecDeque;
use std::sync::Arc;

use super::breaker::MailKey;

/// Maximum number of suspects and of unreliable domains that are remembered.
const MOST: usize = 256;
/// How many unrelated domains have to be refused until the server is taken to refuse every mail.
const DOMAINS_REFUSED: usize = 3;
/// How many mails of fewer domains have to be refused until mails to those domains wait for the others.
const MAILS_REFUSED: usize = 5;
/// The same for mails that are put off: to slow down does less harm than to stop.
const DOMAINS_PUT_OFF: usize = 2;
const MAILS_PUT_OFF: usize = 3;

/// How a mail was turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// For good: a reply of 5xx.
    Refused,
    /// For now: a reply of 4xx, or none.
    PutOff,
}

/// What the suspects say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing of the server.
    None,
    /// Every mail to these few domains meets it; no other mail has been tried.
    Domains,
    /// Mails to unrelated domains meet it.
    All,
}

/// The suspects, and the domains whose refusals say nothing.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    since_success: VecDeque<(MailKey, Arc<str>, Kind)>,
    unreliable: VecDeque<Arc<str>>,
}

impl Suspects {
    /// Adds a mail; what all of this kind say together.
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

    /// A mail to `domain` was accepted, so all suspects are to blame themselves. With `disproved`, they had
    /// been believed: their domains are not believed again before a mail to them is accepted.
    pub(super) fn clear(&mut self, domain: &Arc<str>, disproved: bool) {
        for (_, suspect, _) in self.since_success.drain(..) {
            if disproved && !self.unreliable.contains(&suspect) {
                push(&mut self.unreliable, suspect);
            }
        }
        self.unreliable.retain(|unreliable| unreliable != domain);
    }

    /// Whether refusals of mails to that domain say nothing.
    pub(super) fn is_unreliable(&self, domain: &Arc<str>) -> bool {
        self.unreliable.contains(domain)
    }

    /// Whether a mail to that domain is a poor one to ask the server with.
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

/// The domain that somebody registers, under which all names are theirs: the last two labels of an address's
/// domain, or three where the last two are short, as in `example.co.uk`. Domains that are taken for one
/// although they are not are only believed later.
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
