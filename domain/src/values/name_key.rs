//! Search keys of names, which ignore case and accents.

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::direction;
use super::text::{self, ControlCharacter};

/// Maximum number of characters in the key of a name. Search ignores the characters after them.
const MAX_KEY_CHARS: usize = 64;

/// Returns the search and sort key of a name: the first 64 characters of its compatibility decomposition
/// (NFKD), without case and without combining accents (U+0300 to U+036F). For example, `Ñandú`, `ñandu` and
/// `NANDU` have the same key. The marks of other scripts are kept, because in those scripts they work like
/// letters, not like accents.
///
/// The key depends only on the name, not on the database, so a rebuilt read table has the same keys. The key
/// never ends with a space and is never empty. In the read table, an empty key means that a program without
/// search keys wrote the row.
#[must_use]
pub fn name_key(name: &str) -> String {
    key(name).unwrap_or_else(|| UNSEARCHABLE.to_owned())
}

/// Key of a name that consists only of spaces. Only a log that was written under other rules can contain such
/// a name. No search finds it, because U+FFFD replaces malformed text and queries cannot contain malformed
/// text.
const UNSEARCHABLE: &str = "\u{fffd}";

/// Returns the first searchable characters of a text. Leading spaces are skipped if they would fill the whole
/// key. Accents are used only if there are no other characters.
fn key(text: &str) -> Option<String> {
    let kept = || folded(text).filter(|c| !is_accent(*c));
    first(kept())
        .or_else(|| first(kept().skip_while(|c| *c == ' ')))
        .or_else(|| first(folded(text).skip_while(|c| *c == ' ')))
}

fn first(characters: impl Iterator<Item = char>) -> Option<String> {
    let mut key: String = characters.take(MAX_KEY_CHARS).collect();
    key.truncate(key.trim_end_matches(' ').len());
    (!key.is_empty()).then_some(key)
}

/// Convert to upper case first. Upper case unifies both lower-case forms of sigma, and `ß` with `ss`.
fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    DecomposingNormalizerBorrowed::new_nfkd()
        .normalize_iter(name.chars())
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Beginning of a name to search for: 1 to 64 characters of its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NamePrefix(String);

/// Reason why a name prefix was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NamePrefixError {
    /// The prefix contains a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// The prefix is empty or contains only spaces.
    #[error("must not be empty")]
    Empty,
    /// The prefix has more characters than search keys.
    #[error("must be at most {MAX_KEY_CHARS} characters long")]
    TooLong,
}

impl NamePrefix {
    /// Parses the beginning of a name. Surrounding white space and invisible characters are dropped, as for
    /// names.
    ///
    /// # Errors
    ///
    /// [`NamePrefixError`].
    pub fn parse(input: &str) -> Result<Self, NamePrefixError> {
        let input = text::composed(input);
        let prefix = direction::trimmed(&input)?;
        text::check_controls(&prefix)?;
        if prefix.chars().nth(MAX_KEY_CHARS).is_some() || folded(&prefix).nth(MAX_KEY_CHARS).is_some() {
            return Err(NamePrefixError::TooLong);
        }
        key(&prefix).map(Self).ok_or(NamePrefixError::Empty)
    }

    /// Whether a name begins with this prefix.
    #[must_use]
    pub fn begins(&self, name: &str) -> bool {
        name_key(name).starts_with(&self.0)
    }

    /// Returns an exclusive upper bound of the keys that begin with this prefix, in code point order.
    #[must_use]
    pub fn end(&self) -> String {
        let mut end = self.0.clone();
        while let Some(last) = end.pop() {
            if let Some(next) = (last..=char::MAX).nth(1) {
                end.push(next);
                return end;
            }
        }
        // The prefix consists only of the last code point, so a longer run of it is greater than any key.
        char::MAX.to_string().repeat(MAX_KEY_CHARS + 1)
    }
}

value!(NamePrefix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_make_no_other_key() {
        for (one, other) in [
            ("Ñandú", "NANDU"),
            ("María-José", "maria-jose\u{301}"),
            ("Γιώργος", "ΓΙΩΡΓΟΣ"),
            ("Йован", "ИОВАН"),
            ("Groß", "GROSS"),
            ("İnci", "inci"),
            ("ﬁlip", "Filip"),
        ] {
            assert_eq!(name_key(one), name_key(other), "{one}");
        }
        for (one, other) in [("Ana", "Anna"), ("か", "が"), ("कि", "क"), ("a b", "ab")] {
            assert_ne!(name_key(one), name_key(other), "{one}");
        }
    }

    #[test]
    fn a_key_has_64_characters_at_most_and_no_space_at_its_end() {
        assert_eq!(name_key(&"ﷺ".repeat(200)).chars().count(), 64);
        assert_eq!(name_key(&format!("{} b", "a".repeat(63))), "a".repeat(63));
        assert_eq!(name_key("\u{345}"), "ι", "which is a letter in capitals");
        assert_eq!(name_key("\u{301}"), "\u{301}", "rather than nothing");
    }

    #[test]
    fn a_prefix_is_bounded() {
        for (input, refused) in [
            ("", NamePrefixError::Empty),
            ("  ", NamePrefixError::Empty),
            (&*"a".repeat(65), NamePrefixError::TooLong),
            (&*"ﷺ".repeat(4), NamePrefixError::TooLong),
            ("a\nb", NamePrefixError::ControlCharacter(ControlCharacter)),
        ] {
            assert_eq!(NamePrefix::parse(input).unwrap_err(), refused, "{input}");
        }
        assert_eq!(NamePrefix::parse(" JOSÉ ").unwrap().as_str(), "jose");
        NamePrefix::parse(&"a".repeat(64)).unwrap();
    }

    #[test]
    fn the_keys_with_a_prefix_are_those_from_it_to_its_end() {
        for (prefix, end) in [("ab", "ac"), ("a\u{d7ff}", "a\u{e000}"), ("a\u{10ffff}", "b")] {
            let prefix = NamePrefix(prefix.to_owned());
            assert_eq!(prefix.end(), end);
        }
        assert!(NamePrefix("\u{10ffff}".to_owned()).end() > "\u{10ffff}".repeat(64));
        let prefix = NamePrefix::parse("Jo").unwrap();
        for name in ["José", "JO", "jo ann", "Jo\u{10ffff}"] {
            let key = name_key(name);
            assert!(prefix.begins(name), "{name}");
            assert!(*prefix.as_str() <= *key && *key < *prefix.end(), "{name}");
        }
        for name in ["J", "Jp", "Jn", "Ana"] {
            assert!(!prefix.begins(name), "{name}");
        }
    }
}
