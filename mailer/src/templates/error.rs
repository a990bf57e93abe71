//! Errors of templates.

use std::fmt;

/// A template that is missing, or cannot be compiled or rendered. The message names the file and line, but
/// never the values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {name}{}: {reason}", DisplayLine(*line))]
pub struct TemplateError {
    name: String,
    line: Option<usize>,
    reason: String,
}

impl TemplateError {
    pub(super) fn in_file(name: &str, reason: &str) -> Self {
        Self {
            name: name.to_owned(),
            line: None,
            reason: reason.to_owned(),
        }
    }

    pub(super) fn of(layout: &str, error: &minijinja::Error) -> Self {
        // An error in an included file is the source of the layout's error.
        let mut innermost = error;
        while let Some(source) = std::error::Error::source(innermost).and_then(|source| source.downcast_ref())
        {
            innermost = source;
        }
        Self {
            name: innermost.name().unwrap_or(layout).to_owned(),
            line: innermost.line(),
            reason: innermost.kind().to_string(),
        }
    }
}

struct DisplayLine(Option<usize>);

impl fmt::Display for DisplayLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}
