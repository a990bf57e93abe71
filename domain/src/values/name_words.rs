//! Search for names by any of their words, ignoring case, accents and variants of spelling.

mod folding;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use unicode_segmentation::UnicodeSegmentation;

use self::folding::{MAX_WORD_CHARS, Run, runs};
use super::direction;
use super::text::{self, ControlCharacter};

/// Maximum number of words of a name.
const MAX_NAME_WORDS: usize = 32;
/// Maximum number of words in a query.
const MAX_QUERY_WORDS: usize = 8;

/// Returns the search words of a name: 1 to 32 words with 1 to 64 characters each.
///
/// A search compares beginnings, so a word that another word begins with is left out: `Ana Anabel` has only
/// the word `anabel`. If a name has more than 32 words, whole words are kept before parts of words, and words
/// at the start of the name before later words. The words depend only on the name, not on the database.
///
/// # Folding
///
/// Names and queries are folded by the same rules:
///
/// - Compatibility decomposition (NFKD) and full case folding: `ß` and `ẞ` become `ss`, `ς` becomes `σ`, and
///   `İ` and `ı` become `i`.
/// - Removal of Arabic, Hebrew and Syriac vowel points, and of the accents of Latin, Greek and Cyrillic
///   letters. The marks of other scripts are kept, because in those scripts they work like letters.
/// - Replacement of Latin letters with a stroke or a hook by plain letters (`đ` by `d`, `ł` by `l`), and of
///   `æ`, `œ` and `þ` by `ae`, `oe` and `th`.
/// - Replacement of the Arabic letters that are often confused (`أ`, `إ`, `آ` and `ٱ` by `ا`, `ة` by `ه`, `ى`
///   by `ي`) and of their Persian and Urdu forms.
/// - Removal of invisible characters and of the Arabic tatweel.
/// - Composition (NFC) of the remaining characters.
///
/// # Words
///
/// - White space, hyphens, dots, and all other punctuation and symbols separate words.
/// - An apostrophe does not separate words: `O'Hara` has the word `ohara`. The part after the apostrophe is
///   also a word: `hara`. The same applies to the dot between two `l` in Catalan (`Marcel·lí`) and to the
///   zero-width non-joiner between Arabic letters.
/// - In Chinese, Japanese and Korean text, a word can begin at any character, because names often have no
///   separators, and separators between the characters have no effect. `山田 太郎` and `山田太郎` have the same
///   words: `山田太郎`, `田太郎`, `太郎` and `郎`. A change to or from another script separates words.
///
/// A name without letters and digits, which only older rules accepted, has one word, which no query finds.
#[must_use]
pub fn name_words(name: &str) -> BTreeSet<String> {
    let runs = runs(name);
    let mut words = BTreeSet::new();
    let mut add = |word: String| insert(&mut words, word, MAX_NAME_WORDS);
    for word in runs.iter().flat_map(Run::words) {
        add(word.chars().take(MAX_WORD_CHARS).collect());
    }
    for run in &runs {
        (0..run.parts.len()).for_each(|part| add(run.tail(part, 0)));
    }
    for run in runs.iter().filter(|run| run.unspaced) {
        for (part, text) in run.parts.iter().enumerate() {
            for (start, _) in text.grapheme_indices(true).skip(1) {
                add(run.tail(part, start));
            }
        }
    }
    if words.is_empty() {
        words.insert(UNSEARCHABLE.to_owned());
    }
    words
}

/// Word of a name without letters and digits. No query contains U+FFFD, because it is a symbol.
const UNSEARCHABLE: &str = "\u{fffd}";

/// Query for names: 1 to 8 words with 1 to 64 characters each, folded like [the words of a name](name_words).
///
/// A name matches if each word of the query is the beginning of a word of the name, in any order. In Chinese,
/// Japanese and Korean text, the words of a query are those that separators or changes of script delimit:
/// `山田 太郎` and `太郎 山田` both have the words `太郎` and `山田`, and `山田太郎` is one word.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NameQuery(BTreeSet<String>);

/// Reason why a query for names was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameQueryError {
    /// The query contains a control character.
    #[error(transparent)]
    ControlCharacter(#[from] ControlCharacter),
    /// The query contains no word.
    #[error("must contain at least one letter or digit")]
    Empty,
    /// A word of the query has more than 64 characters.
    #[error("must not contain words of more than {MAX_WORD_CHARS} characters")]
    TooLong,
    /// The query has more than 8 words.
    #[error("must contain at most {MAX_QUERY_WORDS} different words")]
    TooManyWords,
}

impl NameQuery {
    /// Parses a query. Surrounding white space and invisible characters are dropped, as for names. Repeated
    /// words, and words that another word of the query begins with, are dropped before the words are counted.
    ///
    /// # Errors
    ///
    /// [`NameQueryError`].
    pub fn parse(input: &str) -> Result<Self, NameQueryError> {
        let input = text::composed(input);
        let query = direction::trimmed(&input)?;
        text::check_controls(&query)?;
        let mut words = BTreeSet::new();
        for word in runs(&query).iter().flat_map(Run::words) {
            if word.chars().nth(MAX_WORD_CHARS).is_some() {
                return Err(NameQueryError::TooLong);
            }
            insert(&mut words, word, usize::MAX);
        }
        match words.len() {
            0 => Err(NameQueryError::Empty),
            1..=MAX_QUERY_WORDS => Ok(Self(words)),
            _ => Err(NameQueryError::TooManyWords),
        }
    }

    /// Returns the words of the query in code point order. No word begins with another word.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether each word of the query is the beginning of one of the [words of a name](name_words).
    #[must_use]
    pub fn matches(&self, words_of_name: &BTreeSet<String>) -> bool {
        self.words().all(|word| is_beginning(word, words_of_name))
    }

    /// Whether a name matches this query.
    #[must_use]
    pub fn matches_name(&self, name: &str) -> bool {
        self.matches(&name_words(name))
    }
}

impl fmt::Debug for NameQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NameQuery").finish_non_exhaustive()
    }
}

/// Returns an exclusive upper bound of the search words that begin with a word, in code point order.
#[must_use]
pub fn prefix_end(word: &str) -> String {
    let mut end = word.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return end;
        }
    }
    // The word consists only of the last code point, so a longer run of it is greater than any search word.
    char::MAX.to_string().repeat(MAX_WORD_CHARS + 1)
}

/// Adds a word. If one of two words begins with the other, only the longer word is kept, so no word in the
/// set begins with another. Beyond `max` words, a new word is ignored, unless it replaces a word.
fn insert(words: &mut BTreeSet<String>, word: String, max: usize) {
    if is_beginning(&word, words) {
        return;
    }
    // Each text between a word and a longer text that begins with it also begins with it. So only the
    // previous word can be a beginning of the new word.
    let up_to_word = (Bound::Unbounded, Bound::Excluded(&*word));
    let previous = words.range::<str, _>(up_to_word).next_back();
    if let Some(beginning) = previous
        .filter(|previous| word.starts_with(&***previous))
        .cloned()
    {
        words.remove(&beginning);
    } else if words.len() >= max {
        return;
    }
    words.insert(word);
}

fn is_beginning(word: &str, words: &BTreeSet<String>) -> bool {
    let from_word = (Bound::Included(word), Bound::Unbounded);
    words
        .range::<str, _>(from_word)
        .next()
        .is_some_and(|next| next.starts_with(word))
}

#[cfg(test)]
mod tests;
