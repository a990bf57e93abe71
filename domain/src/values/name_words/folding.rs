//! Folding of names and queries, and their division into runs of words. [`name_words`](super::name_words)
//! describes the rules.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup, Script};
use icu_properties::script::ScriptWithExtensions;

use crate::values::text;

/// Maximum number of characters in a word. A longer word of a name is truncated, and a query with a longer
/// word is rejected.
pub(super) const MAX_WORD_CHARS: usize = 64;

/// Folded text without separators that affect search.
pub(super) struct Run {
    /// Whether the text is Chinese, Japanese or Korean, so that separators have no effect and each part is a
    /// word. All parts of other text form one word.
    pub(super) unspaced: bool,
    /// Parts between separators of unspaced text, or between apostrophes of other text. No part is empty.
    pub(super) parts: Vec<String>,
}

impl Run {
    /// Returns the whole words: those that separators or changes of script delimit.
    pub(super) fn words(&self) -> Vec<String> {
        if self.unspaced {
            self.parts.clone()
        } else {
            vec![composed(self.parts.iter().flat_map(|part| part.chars())).collect()]
        }
    }

    /// Returns the text that starts at an offset of a part, truncated to [`MAX_WORD_CHARS`] characters.
    pub(super) fn tail(&self, part: usize, start: usize) -> String {
        let following = self.parts[part + 1..].iter().flat_map(|part| part.chars());
        composed(self.parts[part][start..].chars().chain(following))
            .take(MAX_WORD_CHARS)
            .collect()
    }
}

/// Role of a character in a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharacterRole {
    Letter,
    Ignored,
    Apostrophe,
    Separator,
}

/// Returns the runs of a text. If the text has no other letters, those apostrophes, accents and ignored
/// characters that are letters in Unicode are used as letters.
pub(super) fn runs(text: &str) -> Vec<Run> {
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
            CharacterRole::Letter
        } else {
            CharacterRole::Separator
        }
    })
}

fn split(characters: &[char], role: impl Fn(&[char], usize) -> CharacterRole) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut before = CharacterRole::Separator;
    for (at, c) in characters.iter().enumerate() {
        match role(characters, at) {
            CharacterRole::Ignored => {}
            CharacterRole::Apostrophe if before == CharacterRole::Separator => {}
            found @ (CharacterRole::Apostrophe | CharacterRole::Separator) => before = found,
            CharacterRole::Letter => {
                let unspaced = is_unspaced(*c);
                match runs.last_mut() {
                    Some(run)
                        if run.unspaced == unspaced && (unspaced || before != CharacterRole::Separator) =>
                    {
                        if before != CharacterRole::Letter {
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
                before = CharacterRole::Letter;
            }
        }
    }
    for part in runs.iter_mut().flat_map(|run| &mut run.parts) {
        *part = composed(part.chars()).collect();
    }
    runs
}

/// Returns the role of a decomposed character.
fn role(characters: &[char], at: usize) -> CharacterRole {
    const TATWEEL: char = '\u{640}';
    let c = characters[at];
    if c.is_ascii_alphanumeric() {
        CharacterRole::Letter
    } else if is_apostrophe(c) || is_between(characters, at) {
        CharacterRole::Apostrophe
    } else if c == TATWEEL || text::is_ignorable(c) || is_accent(c) {
        CharacterRole::Ignored
    } else if is_letter(c) {
        CharacterRole::Letter
    } else {
        CharacterRole::Separator
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
