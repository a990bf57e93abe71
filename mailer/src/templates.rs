//! Loading and rendering of templates.
//!
//! The files in `templates/` use [minijinja](https://docs.rs/minijinja). Each part of an email
//! (`subject.txt`, `txt`, `html`) has a layout, which includes `LANGUAGE/NAME.PART` once for each language.
//! Values in `.html` are escaped. An undefined variable is an error.

mod built_in;
mod error;
mod folder;
mod values;

use std::path::Path;

use eventstore::{Hash, Position};
use minijinja::{Environment, UndefinedBehavior, context};

pub use self::error::TemplateError;
pub(crate) use self::values::{Receipt, ReportedEvent, TemplateValues, TimeParts};
use crate::language::{Language, Languages};
use crate::template::Template;

/// A set of templates that render without errors.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

/// The rendered parts of an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

impl Templates {
    /// Loads the built-in templates and renders each once as a check.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for the first template that is missing or invalid.
    pub fn built_in() -> Result<Self, TemplateError> {
        Self::load(built_in::source)
    }

    /// Loads the templates in `folder`, which has the same layout as the built-in templates. Built-in
    /// templates replace missing files. Each template is rendered once as a check, and the files are not read
    /// again. The folder may also have files whose names begin with `_`, which templates may include.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for the first template that is invalid, cannot be read, or has an unknown name.
    pub fn in_folder(folder: &Path) -> Result<Self, TemplateError> {
        let custom = folder::read(folder)?;
        let known = |name: &str| built_in::FILES.iter().any(|(built_in, _)| *built_in == name);
        let included = |name: &str| name.rsplit('/').next().is_some_and(|file| file.starts_with('_'));
        if let Some(name) = custom.keys().find(|name| !known(name) && !included(name)) {
            return Err(TemplateError::in_file(name, "is not a known template"));
        }
        Self::load(move |name| custom.get(name).cloned().or_else(|| built_in::source(name)))
    }

    /// Loads the templates from `source` by name, and renders each once as a check.
    fn load(source: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // In debug mode, error messages would contain the values.
        environment.set_debug(false);
        environment.set_loader(move |name| Ok(source(name)));
        let templates = Self { environment };
        let time = TimeParts {
            year: 2000,
            month: 12,
            day: 31,
            time: "23:59".to_owned(),
        };
        for template in Template::ALL {
            for (clinic, reply_to) in [(None, None), (Some("Clínica"), Some("clinic@example.com"))] {
                let mut values = TemplateValues::sample(template, &time, clinic, reply_to);
                if clinic.is_some() {
                    values.receipt = Some(Receipt::new(
                        "https://clinic.example.com",
                        Position::BEGINNING,
                        Hash::default(),
                    ));
                }
                templates.render(template, &Languages::default(), &values)?;
                for language in Language::ALL {
                    templates.check_subject(template, language, &values)?;
                }
            }
        }
        Ok(templates)
    }

    /// Checks that a language has a subject. An email without a subject looks like spam, and the layout would
    /// hide a subject that is missing in only one language.
    fn check_subject(
        &self,
        template: Template,
        language: Language,
        values: &TemplateValues<'_>,
    ) -> Result<(), TemplateError> {
        let rendered = self.render(template, &Languages::only(language), values)?;
        if rendered.subject.is_empty() {
            let name = format!("{}/{}.subject.txt", language.code(), template.name());
            return Err(TemplateError::in_file(&name, "is empty"));
        }
        Ok(())
    }

    /// Renders the subject, the text and the HTML of an email. Each contains all `languages`, one after
    /// another.
    pub(crate) fn render(
        &self,
        template: Template,
        languages: &Languages,
        values: &TemplateValues<'_>,
    ) -> Result<Rendered, TemplateError> {
        let context = context! {
            languages => languages.codes(),
            mail => template.name(),
            name => values.name,
            patient_id => values.patient_id,
            clinic => values.clinic,
            reply_to => values.reply_to,
            receipt => values.receipt.as_ref().map(Receipt::context),
            registered_at => values.registered_at.context(),
            ..values.reported.context()
        };
        let part = |layout| {
            self.environment
                .get_template(layout)
                .and_then(|layout| layout.render(context.clone()))
                .map_err(|error| TemplateError::of(layout, &error))
        };
        let subject = part("layout.subject.txt")?;
        Ok(Rendered {
            // A header field must be a single line.
            subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
            text: part("layout.txt")?,
            html: part("layout.html")?,
        })
    }
}

#[cfg(test)]
mod tests;
