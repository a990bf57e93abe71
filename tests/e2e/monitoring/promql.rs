//! A minimal `PromQL` parser that extracts the series of an expression. `promtool` checks the syntax.

use std::collections::{BTreeMap, BTreeSet};

/// Keywords that precede a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The series and labels in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expression {
    /// The series of this program, and `up`, with the labels in their selectors.
    pub(super) series: BTreeMap<String, BTreeSet<String>>,
    /// The labels for grouping and matching.
    pub(super) grouping: BTreeSet<String>,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let text = without_strings(text);
        let mut rest = text.as_str();
        while let Some(start) = rest.find(is_first) {
            rest = &rest[start..];
            let (word, after) = rest.split_at(rest.find(|c| !is_next(c)).unwrap_or(rest.len()));
            rest = after;
            if word == "up" || word.starts_with("patients_") {
                let labels = found.series.entry(word.to_owned()).or_default();
                if let Some((chosen, after)) = enclosed(after, '{', '}') {
                    labels.extend(chosen.split(',').filter_map(label));
                    rest = after;
                }
            } else if BEFORE_LABELS.contains(&word)
                && let Some((labels, after)) = enclosed(after, '(', ')')
            {
                found.grouping.extend(labels.split(',').filter_map(label));
                rest = after;
            }
        }
        found
    }

    /// Returns the labels in the selectors of a series.
    pub(super) fn labels_of(&self, series: &str) -> BTreeSet<String> {
        self.series.get(series).cloned().unwrap_or_default()
    }
}

fn is_first(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || character == ':'
}

fn is_next(character: char) -> bool {
    is_first(character) || character.is_ascii_digit()
}

/// Returns the label name of a matcher.
fn label(matcher: &str) -> Option<String> {
    let name: String = matcher.trim().chars().take_while(|c| is_next(*c)).collect();
    (!name.is_empty()).then_some(name)
}

/// Splits a text that begins with a pair of delimiters: the part between them, and the rest.
fn enclosed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.trim_start().strip_prefix(open)?.split_once(close)
}

/// Replaces each string by an empty one, because strings contain no series names.
fn without_strings(text: &str) -> String {
    let mut outside = String::new();
    let mut characters = text.chars();
    let mut inside = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if inside => drop(characters.next()),
            '"' => {
                inside = !inside;
                outside.push(character);
            }
            _ if inside => {}
            _ => outside.push(character),
        }
    }
    outside
}

#[test]
fn the_series_and_labels_of_an_expression_are_found() {
    let found = Expression::parse(
        r#"sum by (le, route) (rate(patients_a_bucket{status=~"5..|}\"", x!="patients_b"}[5m])) / on(z) group_left up > 1e3"#,
    );
    let names = |labels: &[&str]| {
        labels
            .iter()
            .map(|label| (*label).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(found.grouping, names(&["le", "route", "z"]));
    assert_eq!(
        found.series,
        BTreeMap::from([
            ("patients_a_bucket".to_owned(), names(&["status", "x"])),
            ("up".to_owned(), names(&[])),
        ])
    );
}
