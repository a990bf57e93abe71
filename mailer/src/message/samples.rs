//! Emails without an event: previews and test messages.

use eventstore::{Hash, Position, Timestamp};
use lettre::message::Mailbox;

use super::{Composer, Mail, time_parts};
use crate::address::deliverable;
use crate::error::DeliveryFailure;
use crate::language::Languages;
use crate::template::Template;
use crate::templates::{Rendered, TemplateValues};

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
    /// A [`DeliveryFailure`] if the template cannot be rendered.
    pub fn preview(
        &self,
        template: Template,
        languages: Option<&Languages>,
        now: Timestamp,
    ) -> Result<Mail, DeliveryFailure> {
        let languages = languages.unwrap_or(&self.languages);
        let mut values = TemplateValues::sample(template, &time_parts(now), self.clinic(), self.reply_to());
        values.receipt = self.receipt(template, Position::BEGINNING.next(), Hash::default());
        let rendered = self.templates.render(template, languages, &values)?;
        let to = deliverable("maria.jose@example.com").map_err(|_| DeliveryFailure::Address)?;
        self.assemble(
            format!("preview-{}", template.name()),
            &format!("<preview.{}@{}>", template.name(), self.sender.domain()),
            &Mailbox::new(Some(values.name.to_owned()), to),
            languages,
            rendered,
            now,
        )
    }

    /// Composes a test message to `to`.
    ///
    /// # Errors
    ///
    /// [`DeliveryFailure::Address`] if mail cannot be sent to that address.
    pub fn test(&self, to: &str, now: Timestamp) -> Result<Mail, DeliveryFailure> {
        let to = deliverable(to.trim()).map_err(|_| DeliveryFailure::Address)?;
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
