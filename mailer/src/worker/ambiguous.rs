//! Emails that the server rejected or deferred since it last accepted an email, for reasons that may apply to
//! all mail.
//!
//! Anyone who can register patients chooses their addresses, and can thereby cause rejections. A rejection
//! therefore counts against the server only if emails to unrelated domains are rejected too. A domain that
//! was rejected while others were accepted no longer counts.

use std::collections::VecDeque;
use std::sync::Arc;

use super::evidence::NotAccepted;
use crate::ledger::DeliveryKey;

/// Maximum number of emails, and of unreliable domains, to remember.
const MAX_REMEMBERED: usize = 256;
/// Number of unrelated domains that must be rejected before the server counts as rejecting all mail.
const REJECTED_DOMAINS: usize = 3;
/// Number of emails to fewer domains that must be rejected before further emails to those domains wait until
/// an email to another domain was tried.
const REJECTED_EMAILS: usize = 5;
/// The same numbers for deferred emails. They are lower because slowing down does less harm than stopping.
const DEFERRED_DOMAINS: usize = 2;
const DEFERRED_EMAILS: usize = 3;

/// The emails that an outage affects, according to the ambiguous responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutageScope {
    /// There is no evidence of an outage.
    None,
    /// Every email to these few domains is affected, and no other email has been sent to the server.
    SomeDomains,
    /// Emails to unrelated domains are affected.
    AllMail,
}

/// Emails with an ambiguous response, and domains whose ambiguous responses are ignored.
#[derive(Debug, Default)]
pub(super) struct AmbiguousResponses {
    since_success: VecDeque<(DeliveryKey, Arc<str>, NotAccepted)>,
    unreliable: VecDeque<Arc<str>>,
}

impl AmbiguousResponses {
    /// Adds a response to an email, and returns the combined evidence of all responses of the same kind.
    pub(super) fn add(&mut self, delivery: DeliveryKey, domain: &Arc<str>, kind: NotAccepted) -> OutageScope {
        let known = self
            .since_success
            .iter()
            .any(|(known, _, as_kind)| *known == delivery && *as_kind == kind);
        if !known {
            push(&mut self.since_success, (delivery, Arc::clone(domain), kind));
        }
        let alike = || self.since_success.iter().filter(|(_, _, other)| *other == kind);
        let mut domains: Vec<_> = alike().map(|(_, domain, _)| domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let (many_domains, many_emails) = match kind {
            NotAccepted::Rejected => (REJECTED_DOMAINS, REJECTED_EMAILS),
            NotAccepted::Deferred => (DEFERRED_DOMAINS, DEFERRED_EMAILS),
        };
        if domains.len() >= many_domains {
            OutageScope::AllMail
        } else if alike().count() >= many_emails {
            OutageScope::SomeDomains
        } else {
            OutageScope::None
        }
    }

    /// Clears all responses after an email to `domain` was accepted. `disproved` means that the responses had
    /// opened the breaker. Their domains are then ignored until an email to them is accepted.
    pub(super) fn clear(&mut self, domain: &Arc<str>, disproved: bool) {
        for (_, affected, _) in self.since_success.drain(..) {
            if disproved && !self.unreliable.contains(&affected) {
                push(&mut self.unreliable, affected);
            }
        }
        self.unreliable.retain(|unreliable| unreliable != domain);
    }

    /// Whether ambiguous rejections and deferrals of emails to that domain are ignored.
    pub(super) fn is_unreliable(&self, domain: &Arc<str>) -> bool {
        self.unreliable.contains(domain)
    }

    /// Whether an email to that domain is a poor probe of the server.
    pub(super) fn is_affected(&self, domain: &Arc<str>) -> bool {
        self.is_unreliable(domain)
            || self
                .since_success
                .iter()
                .any(|(_, affected, _)| affected == domain)
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MAX_REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(item);
}
