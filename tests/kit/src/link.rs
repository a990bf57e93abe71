//! `Link` headers.

/// Returns the target of the link with this relation and no other parameter (RFC 8288), if the header has
/// such a link.
#[must_use]
pub fn link_target(header: &str, relation: &str) -> Option<String> {
    header.split(", ").find_map(|link| {
        let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
        (parameters == format!("; rel=\"{relation}\"")).then(|| target.to_owned())
    })
}
