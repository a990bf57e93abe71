//! The form in which names are searched: without case and accents.

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::direction;
use super::text::{self, ControlCharacter};

/// The most characters in the key of a name; what comes after them is not searched.
const MAX_KEY_CHARS: usize = 64;

/// The key by which a name is found and put in order: its first 64 characters in compatibility decomposition
/// (NFKD), without case, and without the accents of Latin, Greek and Cyrillic (U+0300 to U+036F). So `Ñandú`,
/// `ñandu` and `NANDU` have one key. Marks of other scripts stay, since there they are letters rather than
/// accents.
///
/// A pure function of the name, and the same whatever the database: a read table that is made anew has the
/// same keys. It never ends with a space and is never empty, whatever the name is: the read table has empty
/// keys only in rows of a program that knew none.
#[must_use]
pub fn name_key(name: &str) -> String {
    key(name).unwrap_or_else(|| UNSEARCHABLE.to_owned())
}

/// The key of a name that has nothing but spaces, as only a log of other rules can have. No search leads to
/// it, since it stands for malformed text, which queries cannot have.
const UNSEARCHABLE: &str = "\u{fffd}";

/// What there is to search for in a text: its first characters; those after the spaces if so many spaces come
/// first; its accents if there is nothing else.
fn key(text: &str) -> Option<String> {
    let kept = || folded(text).filter(|c| !is_accent(*c));
    let first = |characters: &mut dyn Iterator<Item = char>| {
        let key: String = characters.take(MAX_KEY_CHARS).collect();
        let key = key.trim_end_matches(' ');
        (!key.is_empty()).then(|| key.to_owned())
    };
    first(&mut kept())
        .or_else(|| first(&mut kept().skip_while(|c| *c == ' ')))
        .or_else(|| first(&mut folded(text).skip_while(|c| *c == ' ')))
}

/// Upper case first: it brings together what has two small letters, such as both sigmas, and `ß` and `ss`.
fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    DecomposingNormalizerBorrowed::new_nfkd()
        .normalize_iter(name.chars())
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// The beginning of a name, to search for: 1 to 64 characters of its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NamePrefix(String);

/// Why nobody can be searched for by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NamePrefixError {
    /// It has a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// It is empty, or spaces only.
    #[error("must not be empty")]
    Empty,
    /// It has more characters than are searched.
    #[error("must be at most {MAX_KEY_CHARS} characters long")]
    TooLong,
}

impl NamePrefix {
    /// Parses the beginning of a name. White space and invisible characters around it are dropped, as those
    /// around a name are.
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

    /// Whether a name begins with it.
    #[must_use]
    pub fn begins(&self, name: &str) -> bool {
        name_key(name).starts_with(&self.0)
    }

    /// What comes just after the keys that begin with it, in the order of their characters.
    #[must_use]
    pub fn end(&self) -> String {
        let mut end = self.0.clone();
        while let Some(last) = end.pop() {
            if let Some(next) = (last..=char::MAX).nth(1) {
                end.push(next);
                return end;
            }
        }
        // Nothing is after the last character; a key of that alone is shorter.
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
