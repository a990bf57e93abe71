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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Name;

    fn words(name: &str) -> Vec<String> {
        name_words(name).into_iter().collect()
    }

    fn finds(query: &str, name: &str) -> bool {
        NameQuery::parse(query)
            .unwrap_or_else(|error| panic!("{query:?}: {error}"))
            .matches_name(name)
    }

    #[test]
    fn a_name_is_found_by_each_of_these_queries() {
        for (name, queries) in [
            (
                "Dr. Peter James Chalmers",
                &["dr", "dr.", "Chalmers, Peter", "p. j. chalm", "JAMES"][..],
            ),
            (
                "Ana María López Núñez",
                &["lopez", "nunez ana", "LOPEZ-NUNEZ", "mari\u{301}a"],
            ),
            (
                "Ana  López",
                &["ana lopez", "ana\u{a0}\u{3000}lopez", "lópez, ana"],
            ),
            (
                "Ana López",
                &["\u{200e}ana\u{ad} lo\u{200b}pez", "\u{202b}ana\u{202c}"],
            ),
            (
                "María-José d‐e l‑a C–r—u−z",
                &["maria jose", "jose-maria", "d e l a c r u z"],
            ),
            ("GROẞ Anna", &["gross", "groß", "GROSS", "gro"]),
            ("Groß", &["GROẞ"]),
            (
                "Γιώργος Παπαδόπουλος",
                &["ΓΙΩΡΓΟΣ", "γιωργοσ", "παπαδοπουλος", "γιώργος"],
            ),
            ("İnci Işık", &["inci isik", "ınci", "IŞIK", "ışık", "i\u{307}nci"]),
            ("ﬁlip Ａｎａ Ⓛopez", &["FILIP", "fi", "ana lopez"]),
            ("Đặng Thị Hồng", &["dang thi", "đặng", "hong"]),
            (
                "Łukasz Ørsted Æsa Œdip Þór Ħal Guðrún",
                &[
                    "lukasz", "orsted", "aesa", "oedip", "thor", "hal", "gudrun", "ŁUKASZ", "ÆSA", "ÞÓR",
                ],
            ),
            (
                "Ŧuu Ɨra Ƚea Ƶoe Ɓala Ɗan Ƙai Ƴar Ŋuyen",
                &["tuu", "ira", "lea", "zoe", "bala", "dan", "kai", "yar", "nuyen"],
            ),
            (
                "Siobhán O’Hara",
                &[
                    "o'hara",
                    "ohara",
                    "hara",
                    "o hara",
                    "O‘Hara",
                    "oʼhara",
                    "o`hara",
                    "o´hara",
                    "o′hara",
                    "o＇hara",
                    "'hara'",
                    "siobhan 'hara",
                ],
            ),
            ("D´Angelo", &["dangelo", "d'angelo", "angelo"]),
            ("Kaʻahumanu", &["kaahumanu", "ka'ahumanu", "ahumanu"]),
            ("Gal·la Marcel·lí", &["galla", "gal·la", "marceŀli", "gal la"]),
            ("Mª José (Pepa) Ruiz_Gil", &["ma", "pepa", "gil"]),
            ("Иван Йованович Ёлкин", &["ИОВАНОВИЧ", "елкин"]),
            (
                "أحمد إبراهيم آدم ٱلله",
                &["احمد", "ابراهيم", "ادم", "الله", "أَحْمَد"],
            ),
            ("فاطمة موسى", &["فاطمه", "موسي", "فـاطـمة", "فَاطِمَة"]),
            (
                "علی\u{200c}رضا کریمی",
                &["عليرضا", "علی رضا", "علی\u{200c}رضا", "رضا", "كريمي"],
            ),
            ("ﻓﺎﻃﻤﺔ", &["فاطمة", "ﻓ\u{fe76}ﺎﻃﻤﺔ"]),
            ("שָׁלוֹם כהן־לוי", &["שלום", "כהן", "לוי"]),
            ("ג׳ורג׳", &["ג'ורג'", "גורג"]),
            ("नेहा शर्मा", &["नेहा", "शर्मा", "ने"]),
            ("สมชาย ใจดี", &["ใจดี", "สม"]),
            ("ក្រឹស្នា", &["ក្រឹស្នា"]),
            ("ක්\u{200d}රිස්", &["ක්\u{200d}රිස්", "ක්රිස්"]),
        ] {
            for query in queries {
                assert!(finds(query, name), "{name:?} by {query:?}");
            }
        }
    }

    #[test]
    fn spaces_have_no_effect_in_chinese_japanese_and_korean_names() {
        for name in [
            "山田 太郎",
            "山田太郎",
            "山田\u{3000}太郎",
            "山田・太郎",
            "山 田太郎",
        ] {
            assert_eq!(words(name), ["太郎", "山田太郎", "田太郎", "郎"], "{name}");
            for query in [
                "山田太郎",
                "山田 太郎",
                "太郎 山田",
                "太郎、山田",
                "山田",
                "太郎",
                "田太郎",
                "山",
                "山田太",
                "太郎山",
            ] {
                assert_eq!(finds(query, name), query != "太郎山", "{name} by {query}");
            }
        }
        for (name, queries) in [
            ("王小明", &["小明", "王 小明", "小明 王", "王小明"][..]),
            ("김철수", &["철수", "김 철수", "\u{1100}\u{1175}\u{11b7}", "김철"]),
            ("ﾔﾏﾀﾞ ﾀﾛｰ", &["ヤマダタロー", "タロー ヤマダ", "ヤマダ"]),
            ("葛\u{e0100} 花子", &["葛花子", "葛", "花子"]),
            ("玛丽亚·洛佩斯", &["洛佩斯", "玛丽亚洛佩斯", "洛佩斯·玛丽亚"]),
            ("山田太郎 Taro Yamada", &["yamada 太郎", "taro 山田", "山田taro"]),
            ("王Wang小明", &["wang", "小明wang王"]),
        ] {
            for query in queries {
                assert!(finds(query, name), "{name} by {query}");
            }
        }
        for (query, name) in [
            ("太郎山田", "山田 太郎"),
            ("山田花子", "山田 太郎"),
            ("山田 花子", "山田 太郎"),
            ("太山", "山田 太郎"),
            ("기", "김철수"),
            ("か", "が"),
            ("王小", "王 Wang 小明"),
        ] {
            assert!(!finds(query, name), "{name} by {query}");
        }
    }

    #[test]
    fn a_query_finds_no_other_names() {
        for (query, name) in [
            ("pez", "Ana López"),
            ("opez", "Ana López"),
            ("lopezz", "Ana López"),
            ("analopez", "Ana López"),
            ("ana ruiz", "Ana López"),
            ("ana lopez lo z", "Ana López"),
            ("ara", "O'Hara"),
            ("o'h ara", "O'Hara"),
            ("hara", "Ohara"),
            ("jeanluc", "Jean-Luc"),
            ("rose", "Ambrose"),
            ("ana", "Anna"),
            ("कि", "क"),
            ("रमा", "शर्मा"),
            ("สมชา", "ชาย"),
            ("محمد", "احمد"),
            ("\u{fffd}a", "\u{fffd}"),
            ("li", "Mal.i"),
        ] {
            assert!(!finds(query, name), "{name:?} by {query:?}");
        }
    }

    #[test]
    fn words_that_begin_another_word_are_dropped() {
        for (name, expected) in [
            ("Ana Anabel Ana", &["anabel"][..]),
            ("Siobhán O’Hara", &["hara", "ohara", "siobhan"]),
            ("'Pepe' James' d''Or", &["dor", "james", "or", "pepe"]),
            ("rock'n'roll", &["nroll", "rocknroll", "roll"]),
            ("H.-J. 2nd", &["2nd", "h", "j"]),
            ("ʼ Ana", &["ana"]),
            // Letters that are otherwise ignored.
            ("ʼ", &["ʼ"]),
            ("ـ", &["ـ"]),
            // Names without letters and digits.
            ("", &[UNSEARCHABLE]),
            (" - ", &[UNSEARCHABLE]),
            ("\u{200d}", &[UNSEARCHABLE]),
        ] {
            assert_eq!(words(name), expected, "{name:?}");
        }
        let query = NameQuery::parse("ana lopez an LÓPEZ l").unwrap();
        assert!(query.words().eq(["ana", "lopez"]));
        assert!(
            NameQuery::parse("太郎 山田")
                .unwrap()
                .words()
                .eq(["太郎", "山田"])
        );
    }

    #[test]
    fn the_words_of_a_name_are_bounded() {
        assert_eq!(words(&format!("{}b", "a".repeat(64))), ["a".repeat(64)]);
        assert_eq!(words(&"각".repeat(64))[0].chars().count(), 64);
        let numbers: Vec<String> = (100..200).map(|number| number.to_string()).collect();
        assert_eq!(words(&numbers.join(" ")), numbers[..32]);
        // Whole words are kept before parts.
        let name = format!("山田太郎 x'y'z {}", numbers[..30].join(" "));
        let kept = words(&name);
        assert_eq!(kept.len(), 32);
        assert!(kept.contains(&"山田太郎".to_owned()) && kept.contains(&"xyz".to_owned()));
        assert!(!kept.contains(&"yz".to_owned()));
        // A word can replace its own beginnings even if there is no room for other words.
        let chain: Vec<String> = (1..=60).map(|chars| "a".repeat(chars)).collect();
        assert_eq!(words(&chain.join(" ")), ["a".repeat(60)]);
    }

    #[test]
    fn a_query_is_bounded() {
        for (input, rejected) in [
            ("", NameQueryError::Empty),
            (" \u{200b}\u{3000}", NameQueryError::Empty),
            (" - ' . ´", NameQueryError::Empty),
            ("\u{fffd}", NameQueryError::Empty),
            (&*"a".repeat(65), NameQueryError::TooLong),
            (&*"ß".repeat(33), NameQueryError::TooLong),
            ("a b c d e f g h i", NameQueryError::TooManyWords),
            ("a\nb", NameQueryError::ControlCharacter(ControlCharacter)),
            ("a\u{202e}b", NameQueryError::ControlCharacter(ControlCharacter)),
        ] {
            assert_eq!(NameQuery::parse(input).unwrap_err(), rejected, "{input:?}");
        }
        for input in ["a b c d e f g h ab A", &"a".repeat(64), &"각".repeat(64)] {
            let query = NameQuery::parse(input).unwrap();
            assert!(query.words().count() <= 8);
            assert_eq!(format!("{query:?}"), "NameQuery(..)");
        }
        assert_eq!(
            NameQueryError::TooManyWords.to_string(),
            "must contain at most 8 different words"
        );
    }

    #[test]
    fn the_words_with_a_beginning_are_those_from_it_to_its_end() {
        for (word, end) in [("ab", "ac"), ("a\u{d7ff}", "a\u{e000}"), ("a\u{10ffff}", "b")] {
            assert_eq!(prefix_end(word), end);
        }
        assert!(prefix_end("\u{10ffff}") > "\u{10ffff}".repeat(64));
    }

    #[test]
    fn every_character_that_is_a_name_is_found_by_its_words() {
        for c in '\0'..=char::MAX {
            if let Ok(name) = Name::parse(&c.to_string()) {
                check(name.as_str());
            }
        }
    }

    /// Checks what is true for every name.
    fn check(name: &str) {
        let words = name_words(name);
        assert!((1..=MAX_NAME_WORDS).contains(&words.len()), "{name:?}");
        for word in &words {
            assert!((1..=MAX_WORD_CHARS).contains(&word.chars().count()), "{name:?}");
            assert!(*word < prefix_end(word));
            let query = NameQuery::parse(word).unwrap_or_else(|error| panic!("{name:?}, {word:?}: {error}"));
            assert!(
                query.words().eq([word]),
                "folding {word:?} of {name:?} again changes it"
            );
            assert!(name_words(word).contains(word), "{name:?}, {word:?}");
            assert!(query.matches(&words), "{name:?} by {word:?}");
        }
        match NameQuery::parse(name) {
            Ok(query) => assert!(query.matches(&words), "{name:?} by itself"),
            Err(NameQueryError::TooLong | NameQueryError::TooManyWords) => {}
            Err(error) => panic!("{name:?}: {error}"),
        }
    }

    fn names() -> impl Strategy<Value = String> {
        let characters: Vec<char> = concat!(
            "aLlÓßẞςÆŁİı山田太ーヤﾔﾞ가أىیةनि्ำﷺʼ0 '’´·.-\u{1100}\u{1161}\u{11a8}\u{64e}\u{301}\u{3099}",
            "\u{345}\u{200c}\u{200d}\u{3000}"
        )
        .chars()
        .collect();
        let characters = proptest::sample::select(characters);
        prop_oneof![
            proptest::collection::vec(characters, 1..200).prop_map(String::from_iter),
            "([a-z가-각一-丏]{1,3}[ ']){1,100}[a-z]",
            "\\PC{1,60}",
        ]
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in any::<String>(), query in any::<String>()) {
            let words = name_words(&text);
            prop_assert!((1..=MAX_NAME_WORDS).contains(&words.len()));
            if let Ok(query) = NameQuery::parse(&query) {
                prop_assert!((1..=MAX_QUERY_WORDS).contains(&query.words().count()));
                let _ = query.matches(&words);
            }
        }

        #[test]
        fn every_name_is_found_by_its_words(text in names()) {
            if let Ok(name) = Name::parse(&text) {
                check(name.as_str());
            }
        }

        #[test]
        fn the_words_between_a_word_and_its_end_begin_with_it(
            word in "[ab\u{10ffff}]{1,4}",
            other in "[ab\u{10ffff}]{0,6}",
        ) {
            let inside = word <= other && other < prefix_end(&word);
            prop_assert_eq!(inside, other.starts_with(&word));
        }
    }
}
