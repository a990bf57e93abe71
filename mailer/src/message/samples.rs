//! Emails without an event: previews and test messages.

use eventstore::Timestamp;
use lettre::message::Mailbox;

use super::{Composer, Mail, moment};
use crate::address::deliverable;
use crate::error::Failure;
use crate::language::Languages;
use crate::template::Template;
use crate::templates::{Facts, Rendered};

const SUBJECT: &str = "Correo de prueba / Test email";
const TEXT: &str = "\
Este es un correo de prueba del servicio de registro de pacientes. Si lo recibe, el envío de correo funciona.

This is a test email from the patient registration service. If you receive it, sending mail works.
";
const HTML: &str = "\
<!doctype html>
<p lang=\"es\">Este es un correo de prueba del servicio de registro de pacientes. Si lo recibe, el envío de correo funciona.</p>
<p lang=\"en\">This is a test email from the patient registration service. If you receive it, sending mail works.</p>
";

impl Composer {
    /// Composes an email from `template` for a fictitious patient. `languages`, if given, replace the
    /// composer's languages.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the template cannot be rendered.
    pub fn preview(
        &self,
        template: Template,
        languages: Option<&Languages>,
        now: Timestamp,
    ) -> Result<Mail, Failure> {
        let languages = languages.unwrap_or(&self.languages);
        let facts = Facts::of_nobody(template, &moment(now), self.clinic(), self.reply_to());
        let rendered = self.templates.render(template, languages, &facts)?;
        let to = deliverable("maria.jose@example.com").map_err(|_| Failure::Address)?;
        self.assemble(
            format!("preview-{}", template.name()),
            &format!("<preview.{}@{}>", template.name(), self.sender.domain()),
            &Mailbox::new(Some(facts.name.to_owned()), to),
            languages,
            rendered,
            now,
        )
    }

    /// Composes a test message to `to`.
    ///
    /// # Errors
    ///
    /// [`Failure::Address`] if mail cannot be sent to that address.
    pub fn test(&self, to: &str, now: Timestamp) -> Result<Mail, Failure> {
        let to = deliverable(to.trim()).map_err(|_| Failure::Address)?;
        let rendered = Rendered {
            subject: SUBJECT.to_owned(),
            text: TEXT.to_owned(),
            html: HTML.to_owned(),
        };
        self.assemble(
            "test".to_owned(),
            &format!("<test.{:016x}@{}>", fastrand::u64(..), self.sender.domain()),
            &Mailbox::new(None, to),
            &self.languages,
            rendered,
            now,
        )
    }
}
