//! Keys of names, which ignore case and accents.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

/// Maximum number of characters in the key of a name.
const MAX_KEY_CHARS: usize = 64;

/// Returns the key of a name, with which version 0.1 searches and sorts: the first 64 characters of its
/// compatibility decomposition (NFKD), without case and without combining accents (U+0300 to U+036F). For
/// example, `Ñandú`, `ñandu` and `NANDU` have the same key. The marks of other scripts are kept, because in
/// those scripts they work like letters, not like accents.
///
/// The key depends only on the name, not on the database, so a rebuilt read table has the same keys. The key
/// never ends with a space and is never empty. In the read table, an empty key means that a program without
/// search keys wrote the row.
#[must_use]
pub fn name_key(name: &str) -> String {
    key(name).unwrap_or_else(|| UNSEARCHABLE.to_owned())
}

/// Returns the key that is the same for two spellings of one person's name: its words in alphabetical order,
/// folded like [`name_key`]. Punctuation separates words. For example, `Ana Pérez` and `PEREZ, Ana` have the
/// same key.
///
/// Claims are hashes of this key, so its definition never changes.
pub(crate) fn person_key(name: &str) -> String {
    let unaccented = folded(name).filter(|c| !is_accent(*c));
    // Letters and their marks are one character again, because a mark alone separates words.
    let folded: String = ComposingNormalizerBorrowed::new_nfc()
        .normalize_iter(unaccented)
        .collect();
    let mut words: Vec<&str> = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_unstable();
    words.join(" ")
}

/// Key of a name that consists only of spaces. Only a log that was written under other rules can contain such
/// a name. No search finds it: decoders replace malformed text with U+FFFD, so queries that contain U+FFFD
/// are rejected.
const UNSEARCHABLE: &str = "\u{fffd}";

/// Returns the first searchable characters of a text. Leading spaces are skipped if they would fill the whole
/// key. Accents are kept only if all other characters are spaces.
fn key(text: &str) -> Option<String> {
    let unaccented = || folded(text).filter(|c| !is_accent(*c));
    first(unaccented())
        .or_else(|| first(unaccented().skip_while(|c| *c == ' ')))
        .or_else(|| first(folded(text).skip_while(|c| *c == ' ')))
}

fn first(characters: impl Iterator<Item = char>) -> Option<String> {
    let mut key: String = characters.take(MAX_KEY_CHARS).collect();
    key.truncate(key.trim_end_matches(' ').len());
    (!key.is_empty()).then_some(key)
}

/// Returns the compatibility decomposition of a name without case. The name is converted to upper case first,
/// because upper case unifies both lower-case forms of sigma, and `ß` with `ss`.
fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    DecomposingNormalizerBorrowed::new_nfkd()
        .normalize_iter(name.chars())
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_have_the_same_key_if_their_names_have_the_same_words() {
        for (name, key) in [
            ("Ana Pérez", "ana perez"),
            ("PEREZ, ana", "ana perez"),
            ("J Johnson", "j johnson"),
            ("Ana Ana", "ana ana"),
            ("O'Hara Strauß", "hara o strauss"),
            ("Γιώργος", "γιωργοσ"),
            ("山田 太郎", "太郎 山田"),
            ("か", "か"),
            ("が", "が"),
        ] {
            assert_eq!(person_key(name), key);
        }
        let long = "a".repeat(200);
        assert_eq!(person_key(&long), long);
    }

    #[test]
    fn keys_ignore_case_and_accents() {
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
    fn a_key_has_at_most_64_characters_and_no_trailing_space() {
        assert_eq!(name_key(&"ﷺ".repeat(200)).chars().count(), 64);
        assert_eq!(name_key(&format!("{} b", "a".repeat(63))), "a".repeat(63));
        assert_eq!(name_key("\u{345}"), "ι", "which is a letter in capitals");
        assert_eq!(name_key("\u{301}"), "\u{301}", "rather than nothing");
    }
}
