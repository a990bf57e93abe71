//! The languages of an email.

use std::fmt;
use std::str::FromStr;

/// A language that has templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Spanish, `es`.
    Spanish,
    /// English, `en`.
    English,
}

impl Language {
    /// All languages.
    pub const ALL: [Self; 2] = [Self::Spanish, Self::English];

    /// ISO 639-1 code, which is also the name of the template folder.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::English => "en",
        }
    }
}

/// The languages of every email, in order: at least one, without duplicates.
///
/// Parsed from and displayed as comma-separated codes. The default is `es,en`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages(Vec<Language>);

impl Languages {
    /// Creates a list of one language.
    #[must_use]
    pub fn only(language: Language) -> Self {
        Self(vec![language])
    }

    /// Iterates over the languages in the order of the email.
    pub fn iter(&self) -> impl Iterator<Item = Language> + '_ {
        self.0.iter().copied()
    }

    /// Codes of the languages.
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.iter().map(Language::code).collect()
    }
}

impl Default for Languages {
    fn default() -> Self {
        Self(Language::ALL.to_vec())
    }
}

/// A list of languages that is empty, or contains an unsupported language or a duplicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `es`, `en` or both in the desired order, such as `es,en`")]
pub struct LanguagesError;

impl FromStr for Languages {
    type Err = LanguagesError;

    fn from_str(list: &str) -> Result<Self, LanguagesError> {
        let mut languages = Vec::new();
        for code in list.split(',').map(str::trim) {
            let language = Language::ALL
                .into_iter()
                .find(|language| language.code().eq_ignore_ascii_case(code))
                .filter(|language| !languages.contains(language))
                .ok_or(LanguagesError)?;
            languages.push(language);
        }
        Ok(Self(languages))
    }
}

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.codes().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::Languages;

    #[test]
    fn a_list_keeps_its_order() {
        for (written, read) in [("es", "es"), ("en,es", "en,es"), (" ES , en ", "es,en")] {
            assert_eq!(written.parse::<Languages>().unwrap().to_string(), read);
        }
        assert_eq!(Languages::default().to_string(), "es,en");
    }

    #[test]
    fn an_empty_list_an_unknown_language_and_a_duplicate_are_rejected() {
        for list in ["", ",", "es,", "fr", "es,es", "es;en"] {
            assert!(list.parse::<Languages>().is_err(), "{list:?}");
        }
    }
}
