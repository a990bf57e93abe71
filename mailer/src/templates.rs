//! Loading and rendering of templates.
//!
//! The files in `templates/` use [minijinja](https://docs.rs/minijinja). Each part of an email
//! (`subject.txt`, `txt`, `html`) has a layout, which includes `LANGUAGE/NAME.PART` once for each language.
//! Values in `.html` are escaped. An undefined variable is an error.

mod folder;

use std::fmt;
use std::path::Path;

use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::language::{Language, Languages};
use crate::template::Template;

/// All files, with the names that templates use to include them.
const BUILT_IN: [(&str, &str); 27] = [
    (
        "layout.subject.txt",
        include_str!("../templates/layout.subject.txt"),
    ),
    ("layout.txt", include_str!("../templates/layout.txt")),
    ("layout.html", include_str!("../templates/layout.html")),
    (
        "es/patient_registered.subject.txt",
        include_str!("../templates/es/patient_registered.subject.txt"),
    ),
    (
        "es/patient_registered.txt",
        include_str!("../templates/es/patient_registered.txt"),
    ),
    (
        "es/patient_registered.html",
        include_str!("../templates/es/patient_registered.html"),
    ),
    (
        "en/patient_registered.subject.txt",
        include_str!("../templates/en/patient_registered.subject.txt"),
    ),
    (
        "en/patient_registered.txt",
        include_str!("../templates/en/patient_registered.txt"),
    ),
    (
        "en/patient_registered.html",
        include_str!("../templates/en/patient_registered.html"),
    ),
    (
        "es/patient_amended.subject.txt",
        include_str!("../templates/es/patient_amended.subject.txt"),
    ),
    (
        "es/patient_amended.txt",
        include_str!("../templates/es/patient_amended.txt"),
    ),
    (
        "es/patient_amended.html",
        include_str!("../templates/es/patient_amended.html"),
    ),
    (
        "en/patient_amended.subject.txt",
        include_str!("../templates/en/patient_amended.subject.txt"),
    ),
    (
        "en/patient_amended.txt",
        include_str!("../templates/en/patient_amended.txt"),
    ),
    (
        "en/patient_amended.html",
        include_str!("../templates/en/patient_amended.html"),
    ),
    (
        "es/patient_email_changed.subject.txt",
        include_str!("../templates/es/patient_email_changed.subject.txt"),
    ),
    (
        "es/patient_email_changed.txt",
        include_str!("../templates/es/patient_email_changed.txt"),
    ),
    (
        "es/patient_email_changed.html",
        include_str!("../templates/es/patient_email_changed.html"),
    ),
    (
        "en/patient_email_changed.subject.txt",
        include_str!("../templates/en/patient_email_changed.subject.txt"),
    ),
    (
        "en/patient_email_changed.txt",
        include_str!("../templates/en/patient_email_changed.txt"),
    ),
    (
        "en/patient_email_changed.html",
        include_str!("../templates/en/patient_email_changed.html"),
    ),
    (
        "es/patient_deleted.subject.txt",
        include_str!("../templates/es/patient_deleted.subject.txt"),
    ),
    (
        "es/patient_deleted.txt",
        include_str!("../templates/es/patient_deleted.txt"),
    ),
    (
        "es/patient_deleted.html",
        include_str!("../templates/es/patient_deleted.html"),
    ),
    (
        "en/patient_deleted.subject.txt",
        include_str!("../templates/en/patient_deleted.subject.txt"),
    ),
    (
        "en/patient_deleted.txt",
        include_str!("../templates/en/patient_deleted.txt"),
    ),
    (
        "en/patient_deleted.html",
        include_str!("../templates/en/patient_deleted.html"),
    ),
];

/// A set of templates that render without errors.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

/// A template that is missing, or cannot be compiled or rendered. The message names the file and line, but
/// never the values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {name}{}: {reason}", DisplayLine(*line))]
pub struct TemplateError {
    name: String,
    line: Option<usize>,
    reason: String,
}

/// Values for the templates.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Name of the patient.
    pub(crate) name: &'a str,
    /// Id of the registration.
    pub(crate) patient_id: &'a str,
    /// Time of the registration.
    pub(crate) registered_at: Moment,
    /// What the email reports.
    pub(crate) news: News,
    /// Name of the clinic, if configured.
    pub(crate) clinic: Option<&'a str>,
    /// Address for replies, if configured.
    pub(crate) reply_to: Option<&'a str>,
}

/// What an email reports.
#[derive(Debug)]
pub(crate) enum News {
    Registered,
    Amended {
        at: Moment,
        /// Names of the changed fields, as in the event.
        changed: Vec<&'static str>,
    },
    EmailChanged {
        at: Moment,
    },
    Deleted {
        at: Moment,
    },
}

impl News {
    /// Returns sample values for an email of a fictitious patient.
    fn of_nobody(template: Template, at: &Moment) -> Self {
        let at = at.clone();
        match template {
            Template::PatientRegistered => Self::Registered,
            Template::PatientAmended => Self::Amended {
                at,
                // All fields, so that a check renders the label of each field.
                changed: vec!["name", "email", "phone", "document_url"],
            },
            Template::PatientEmailChanged => Self::EmailChanged { at },
            Template::PatientDeleted => Self::Deleted { at },
        }
    }

    /// Returns the variables that only this kind of email has.
    fn context(&self) -> Value {
        match self {
            Self::Registered => context! {},
            Self::Amended { at, changed } => context! { changed_at => at.context(), changed },
            Self::EmailChanged { at } => context! { changed_at => at.context() },
            Self::Deleted { at } => context! { deleted_at => at.context() },
        }
    }
}

impl<'a> Facts<'a> {
    /// Returns the values of a fictitious patient, to check templates and for previews.
    pub(crate) fn of_nobody(
        template: Template,
        at: &Moment,
        clinic: Option<&'a str>,
        reply_to: Option<&'a str>,
    ) -> Self {
        Self {
            name: "María José Núñez",
            patient_id: "00000000-0000-7000-8000-000000000000",
            registered_at: at.clone(),
            news: News::of_nobody(template, at),
            clinic,
            reply_to,
        }
    }
}

/// A time in UTC, split into parts so that each language can order them.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) year: i32,
    /// Month, from 1 to 12.
    pub(crate) month: u32,
    /// Day of the month, from 1 to 31.
    pub(crate) day: u32,
    /// Time of day, such as `09:05`.
    pub(crate) time: String,
}

impl Moment {
    fn context(&self) -> Value {
        context! {
            year => self.year,
            month => self.month,
            day => self.day,
            time => self.time.as_str(),
        }
    }
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
        Self::load(built_in)
    }

    /// Loads the templates in `folder`, which has the same layout as the built-in templates. Built-in
    /// templates replace missing files. Each template is rendered once as a check, and the files are not read
    /// again. Other templates may include files whose names begin with `_`.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for the first template that is invalid, cannot be read, or has an unknown name.
    pub fn in_folder(folder: &Path) -> Result<Self, TemplateError> {
        let own = folder::read(folder)?;
        let known = |name: &str| BUILT_IN.iter().any(|(built_in, _)| *built_in == name);
        let included = |name: &str| name.rsplit('/').next().is_some_and(|file| file.starts_with('_'));
        if let Some(name) = own.keys().find(|name| !known(name) && !included(name)) {
            return Err(TemplateError::in_file(name, "is not a known template"));
        }
        Self::load(move |name| own.get(name).cloned().or_else(|| built_in(name)))
    }

    /// Loads the templates from `source` by name, and renders each once as a check.
    fn load(source: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // In debug mode, error messages would contain the values.
        environment.set_debug(false);
        environment.set_loader(move |name| Ok(source(name)));
        let templates = Self { environment };
        let moment = Moment {
            year: 2000,
            month: 12,
            day: 31,
            time: "23:59".to_owned(),
        };
        for template in Template::ALL {
            for (clinic, reply_to) in [(None, None), (Some("Clínica"), Some("clinic@example.com"))] {
                let facts = Facts::of_nobody(template, &moment, clinic, reply_to);
                templates.render(template, &Languages::default(), &facts)?;
                for language in Language::ALL {
                    templates.subject_is_there(template, language, &facts)?;
                }
            }
        }
        Ok(templates)
    }

    /// Checks that a language has a subject. An email without a subject looks like spam, and the layout would
    /// hide a subject that is missing in only one language.
    fn subject_is_there(
        &self,
        template: Template,
        language: Language,
        facts: &Facts<'_>,
    ) -> Result<(), TemplateError> {
        let rendered = self.render(template, &Languages::only(language), facts)?;
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
        facts: &Facts<'_>,
    ) -> Result<Rendered, TemplateError> {
        let context = context! {
            languages => languages.codes(),
            mail => template.name(),
            name => facts.name,
            patient_id => facts.patient_id,
            clinic => facts.clinic,
            reply_to => facts.reply_to,
            registered_at => facts.registered_at.context(),
            ..facts.news.context()
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

fn built_in(name: &str) -> Option<String> {
    BUILT_IN
        .iter()
        .find(|(built_in, _)| *built_in == name)
        .map(|(_, source)| (*source).to_owned())
}

impl TemplateError {
    fn in_file(name: &str, reason: &str) -> Self {
        Self {
            name: name.to_owned(),
            line: None,
            reason: reason.to_owned(),
        }
    }

    fn of(layout: &str, error: &minijinja::Error) -> Self {
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

#[cfg(test)]
mod tests;
