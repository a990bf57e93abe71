//! Search for names by any of their words, ignoring case, accents and variants of spelling.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup, Script};
use icu_properties::script::ScriptWithExtensions;
use unicode_segmentation::UnicodeSegmentation;

use super::direction;
use super::text::{self, ControlCharacter};

/// Maximum number of characters in a word. Search ignores the characters after them.
const MAX_WORD_CHARS: usize = 64;
/// Maximum number of words kept for a name.
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
/// - Removal of the accents of Latin, Greek and Cyrillic letters and of Arabic, Hebrew and Syriac vowel
///   points. The marks of other scripts are kept, because in those scripts they work like letters.
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
    let mut keep = |word: String| insert(&mut words, word, MAX_NAME_WORDS);
    for word in runs.iter().flat_map(Run::words) {
        keep(word.chars().take(MAX_WORD_CHARS).collect());
    }
    for run in &runs {
        (0..run.parts.len()).for_each(|part| keep(run.tail(part, 0)));
    }
    for run in runs.iter().filter(|run| run.unspaced) {
        for (part, text) in run.parts.iter().enumerate() {
            for (start, _) in text.grapheme_indices(true).skip(1) {
                keep(run.tail(part, start));
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
    /// A word of the query has more characters than search words.
    #[error("must not contain words of more than {MAX_WORD_CHARS} characters")]
    TooLong,
    /// The query has too many words.
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

/// Adds a word to words of which none begins with another. A new word beyond the maximum is ignored, unless
/// it extends a word.
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

/// Folded text without separators that affect search.
struct Run {
    /// Whether the text is Chinese, Japanese or Korean, so that separators have no effect and each part is a
    /// word. All parts of other text form one word.
    unspaced: bool,
    /// Parts between separators of unspaced text, or between apostrophes of other text. No part is empty.
    parts: Vec<String>,
}

impl Run {
    /// Returns the words as written.
    fn words(&self) -> Vec<String> {
        if self.unspaced {
            self.parts.clone()
        } else {
            vec![composed(self.parts.iter().flat_map(|part| part.chars())).collect()]
        }
    }

    /// Returns the first characters of the text that starts at an offset of a part.
    fn tail(&self, part: usize, start: usize) -> String {
        let following = self.parts[part + 1..].iter().flat_map(|part| part.chars());
        composed(self.parts[part][start..].chars().chain(following))
            .take(MAX_WORD_CHARS)
            .collect()
    }
}

/// Role of a character in a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Letter,
    Ignored,
    Apostrophe,
    Separator,
}

/// Returns the runs of a text. Apostrophes, accents and other ignored characters are used as letters only if
/// there are no other letters and the characters are letters in Unicode.
fn runs(text: &str) -> Vec<Run> {
    let characters = text.chars().filter(|c| !is_isolated_arabic_mark(*c));
    // The decomposition of some apostrophes contains a space.
    let characters = characters.map(|c| if is_apostrophe(c) { '\'' } else { c });
    let runs = split(&decomposed(characters), role);
    if !runs.is_empty() {
        return runs;
    }
    let letters = text.chars().map(|c| if is_letter(c) { c } else { ' ' });
    split(&decomposed(letters), |characters, at| {
        if is_letter(characters[at]) {
            Role::Letter
        } else {
            Role::Separator
        }
    })
}

fn split(characters: &[char], role: impl Fn(&[char], usize) -> Role) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut before = Role::Separator;
    for (at, c) in characters.iter().enumerate() {
        match role(characters, at) {
            Role::Ignored => {}
            Role::Apostrophe if before == Role::Separator => {}
            found @ (Role::Apostrophe | Role::Separator) => before = found,
            Role::Letter => {
                let unspaced = is_unspaced(*c);
                match runs.last_mut() {
                    Some(run) if run.unspaced == unspaced && (unspaced || before != Role::Separator) => {
                        if before != Role::Letter {
                            run.parts.push(String::new());
                        }
                    }
                    _ => runs.push(Run {
                        unspaced,
                        parts: vec![String::new()],
                    }),
                }
                if let Some(part) = runs.last_mut().and_then(|run| run.parts.last_mut()) {
                    fold_letter(*c, part);
                }
                before = Role::Letter;
            }
        }
    }
    for part in runs.iter_mut().flat_map(|run| &mut run.parts) {
        *part = composed(part.chars()).collect();
    }
    runs
}

/// Returns the role of a decomposed character.
fn role(characters: &[char], at: usize) -> Role {
    const TATWEEL: char = '\u{640}';
    let c = characters[at];
    if c.is_ascii_alphanumeric() {
        Role::Letter
    } else if is_apostrophe(c) || is_between(characters, at) {
        Role::Apostrophe
    } else if c == TATWEEL || text::is_ignorable(c) || is_accent(c) {
        Role::Ignored
    } else if is_letter(c) {
        Role::Letter
    } else {
        Role::Separator
    }
}

/// Whether the character works like an apostrophe between its neighbours: the dot of a Catalan double `l`, or
/// a zero-width non-joiner between Arabic letters.
fn is_between(characters: &[char], at: usize) -> bool {
    let neighbours = |is_one: fn(char) -> bool| {
        let previous = at.checked_sub(1).map(|previous| characters[previous]);
        previous.is_some_and(is_one) && characters.get(at + 1).copied().is_some_and(is_one)
    };
    match characters[at] {
        '\u{b7}' | '\u{2027}' => neighbours(|c| c.eq_ignore_ascii_case(&'l')),
        '\u{200c}' => neighbours(|c| script(c) == Script::Arabic),
        _ => false,
    }
}

fn decomposed(characters: impl Iterator<Item = char>) -> Vec<char> {
    DecomposingNormalizerBorrowed::new_nfkd()
        .normalize_iter(characters)
        .collect()
}

fn composed(characters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    ComposingNormalizerBorrowed::new_nfc().normalize_iter(characters)
}

/// Appends the folded form of a decomposed letter.
fn fold_letter(c: char, folded: &mut String) {
    // Lower case first, because `ẞ` has no other upper case. Then upper case, which unifies both lower-case
    // forms of sigma, and `ß` with `ss`.
    let letters = c.to_lowercase().flat_map(char::to_uppercase);
    for c in letters.flat_map(char::to_lowercase) {
        match plain_form(c) {
            Some(plain) => folded.push_str(plain),
            None => folded.push(c),
        }
    }
}

/// Returns the plain spelling of a lower-case letter that has no decomposition.
const fn plain_form(c: char) -> Option<&'static str> {
    Some(match c {
        // Latin letters with a stroke or a hook, and ligatures.
        'ⱥ' => "a",
        'æ' => "ae",
        'ƀ' | 'ɓ' => "b",
        'ȼ' | 'ꞓ' => "c",
        'đ' | 'ð' | 'ɖ' | 'ɗ' => "d",
        'ɇ' => "e",
        'ǥ' | 'ꞡ' => "g",
        'ħ' | 'ⱨ' => "h",
        'ı' | 'ɨ' => "i",
        'ɉ' => "j",
        'ƙ' | 'ꝁ' | 'ꞣ' => "k",
        'ł' | 'ƚ' | 'ɫ' | 'ⱡ' | 'ꝉ' => "l",
        'ŋ' | 'ꞥ' => "n",
        'ø' | 'ɵ' => "o",
        'œ' => "oe",
        'ᵽ' | 'ꝑ' => "p",
        'ɍ' | 'ꞧ' => "r",
        'ꞩ' => "s",
        'ŧ' | 'ⱦ' => "t",
        'þ' => "th",
        'ʉ' => "u",
        'ƴ' | 'ɏ' => "y",
        'ƶ' => "z",
        // Arabic letters, including Persian and Urdu forms. Hamza and madda on a letter are accents.
        '\u{671}'..='\u{673}' | '\u{675}' => "\u{627}",
        '\u{629}' | '\u{6be}' | '\u{6c1}' | '\u{6c3}' | '\u{6d5}' => "\u{647}",
        '\u{649}' | '\u{6cc}' => "\u{64a}",
        '\u{6a9}' => "\u{643}",
        _ => return None,
    })
}

/// Whether the character is an apostrophe or is used as an apostrophe. The Hebrew geresh and gershayim are
/// also typed as quotation marks.
const fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '´' | '\u{2b9}' | '\u{2bb}'..='\u{2bf}' | '\u{2c8}' | '\u{2ca}' | '\u{2cb}' | '\u{2ee}'
            | '\u{374}' | '\u{384}' | '\u{55a}' | '\u{5f3}' | '\u{5f4}' | '\u{7f4}' | '\u{7f5}' | '\u{1fbd}'
            | '\u{1fbf}' | '\u{1fef}' | '\u{1ffd}' | '\u{1ffe}' | '\u{2018}'..='\u{201b}' | '\u{2032}'
            | '\u{2035}' | '\u{275b}' | '\u{275c}' | '\u{a78b}' | '\u{a78c}' | '\u{ff07}' | '\u{ff40}'
    )
}

/// Whether the character is the form of an Arabic mark without a letter. Its decomposition contains a space,
/// but it does not separate words.
const fn is_isolated_arabic_mark(c: char) -> bool {
    matches!(c, '\u{fc5e}'..='\u{fc63}' | '\u{fe70}'..='\u{fe7f}')
}

/// Whether the character is a mark that is often left out in writing.
fn is_accent(c: char) -> bool {
    if matches!(c, '\u{300}'..='\u{36f}') {
        return true;
    }
    matches!(
        text::category(c),
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
    ) && matches!(
        script(c),
        Script::Inherited
            | Script::Common
            | Script::Latin
            | Script::Greek
            | Script::Cyrillic
            | Script::Arabic
            | Script::Hebrew
            | Script::Syriac
    ) && !is_unspaced(c)
}

/// Whether the character is visible and a letter, digit or mark, in any script.
fn is_letter(c: char) -> bool {
    (c.is_alphanumeric() || GeneralCategoryGroup::Mark.contains(text::category(c))) && !text::is_ignorable(c)
}

/// Whether the character belongs to the Chinese, Japanese or Korean script, including the marks of these
/// scripts, such as the prolonged sound mark.
fn is_unspaced(c: char) -> bool {
    !c.is_ascii()
        && ScriptWithExtensions::new()
            .get_script_extensions_val(c)
            .iter()
            .any(|script| {
                matches!(
                    script,
                    Script::Han | Script::Hiragana | Script::Katakana | Script::Hangul | Script::Bopomofo
                )
            })
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

#[cfg(test)]
mod tests;
