use super::*;

fn values(name: &str) -> TemplateValues<'_> {
    TemplateValues {
        name,
        patient_id: "0193a7c2-0000-7000-8000-000000000001",
        registered_at: TimeParts {
            year: 2025,
            month: 11,
            day: 4,
            time: "09:05".to_owned(),
        },
        reported: ReportedEvent::Registered,
        clinic: None,
        reply_to: None,
        receipt: None,
    }
}

fn rendered(languages: &str, name: &str) -> Rendered {
    Templates::built_in()
        .unwrap()
        .render(
            Template::PatientRegistered,
            &languages.parse().unwrap(),
            &values(name),
        )
        .unwrap()
}

#[test]
fn an_email_contains_its_languages_in_order() {
    let mail = rendered("es,en", "Ana");
    assert_eq!(
        mail.subject,
        "Confirmación de su registro / Your registration is confirmed"
    );
    let (spanish, english) = mail
        .text
        .split_once("\n----------------------------------------\n\n")
        .unwrap();
    assert!(
        spanish.starts_with("Hola, Ana:\n\nLe damos la bienvenida."),
        "{spanish}"
    );
    assert!(english.starts_with("Hello Ana,\n\nWelcome."), "{english}");
    assert!(mail.html.contains(r#"<html lang="es">"#));
    assert!(mail.html.find(r#"<div lang="es">"#) < mail.html.find(r#"<div lang="en""#));
}

#[test]
fn an_email_in_one_language_contains_no_text_in_another() {
    let mail = rendered("en", "Ana");
    assert_eq!(mail.subject, "Your registration is confirmed");
    assert!(mail.text.starts_with("Hello Ana,"));
    assert!(!mail.text.contains("Hola") && !mail.html.contains("Hola"));
    assert!(!mail.text.contains("----"));
    assert!(mail.html.contains(r#"<html lang="en">"#));
}

#[test]
fn text_and_html_contain_the_id_and_the_date_in_the_order_of_the_language() {
    let mail = rendered("es,en", "Ana");
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("0193a7c2-0000-7000-8000-000000000001"));
        assert!(part.contains("4 de noviembre de 2025, 09:05 (UTC)"));
        assert!(part.contains("4 November 2025, 09:05 (UTC)"));
    }
}

#[test]
fn a_name_is_escaped_in_html_and_unchanged_in_text() {
    let mail = rendered("es,en", r#"<script>alert("1")</script> & Co"#);
    assert!(!mail.html.contains("<script>"));
    assert!(mail.html.contains("&lt;script&gt;alert(&quot;1&quot;)"));
    assert!(mail.text.contains(r#"Hola, <script>alert("1")</script> & Co:"#));
}

#[test]
fn braces_in_a_name_are_not_template_syntax() {
    let mail = rendered("es", "{{ patient_id }}{% if x %}");
    assert!(mail.text.starts_with("Hola, {{ patient_id }}{% if x %}:"));
}

#[test]
fn a_missing_or_invalid_template_is_an_error_that_names_it() {
    let load = |name: &'static str, source: Option<&'static str>| {
        Templates::load(move |asked| {
            if asked == name {
                return source.map(str::to_owned);
            }
            let built_in = built_in::FILES.iter().find(|(built_in, _)| *built_in == asked);
            built_in.map(|(_, source)| (*source).to_owned())
        })
        .map(|_| ())
        .unwrap_err()
        .to_string()
    };
    let name = "en/patient_registered.txt";
    assert_eq!(
        load(name, Some("Hello\n{{ nmae }}")),
        "template en/patient_registered.txt, line 2: undefined value"
    );
    assert_eq!(
        load(name, Some("{% if %}")),
        "template en/patient_registered.txt, line 1: syntax error"
    );
    assert!(load(name, None).contains("template not found"));
}

/// Loads templates from a folder with the given files.
fn in_folder(files: &[(&str, &str)]) -> Result<Templates, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    Templates::in_folder(folder.path()).map_err(|error| error.to_string())
}

#[test]
fn a_folder_replaces_only_the_files_that_it_contains() {
    let templates = in_folder(&[
        ("en/patient_registered.subject.txt", "Welcome, {{ name }}\n"),
        (
            "en/patient_registered.html",
            r#"<p>{{ name }}</p>{% include "_footer.html" %}"#,
        ),
        ("_footer.html", "<p>The clinic</p>"),
        ("..data/ignored", "names that begin with a dot are skipped"),
    ])
    .unwrap();
    let mail = templates
        .render(
            Template::PatientRegistered,
            &"en".parse().unwrap(),
            &values("<b>"),
        )
        .unwrap();
    assert_eq!(mail.subject, "Welcome, <b>");
    assert!(
        mail.html.contains("<p>&lt;b&gt;</p><p>The clinic</p>"),
        "{}",
        mail.html
    );
    assert!(mail.text.contains("Your registration as a patient is complete"));
}

#[test]
fn a_folder_with_an_invalid_file_is_an_error_that_names_it() {
    for (file, text, expected) in [
        (
            "en/patient_registered.txt",
            "{{ nome }}",
            "en/patient_registered.txt, line 1",
        ),
        (
            "es/patient_registered.html",
            "a\n{% if %}",
            "es/patient_registered.html, line 2",
        ),
        (
            "es/patient_registred.html",
            "a typo",
            "es/patient_registred.html: is not a known template",
        ),
        (
            "fr/patient_registered.txt",
            "Bonjour",
            "fr/patient_registered.txt: is not a known template",
        ),
        ("es/deep/a.txt", "", "es/deep: is not a known template"),
        (
            "en/patient_registered.html",
            r#"{% include "/etc/passwd" %}"#,
            "template",
        ),
    ] {
        let error = in_folder(&[(file, text)]).unwrap_err();
        assert!(error.contains(expected), "{file}: {error}");
    }
    let long = "x".repeat(1024 * 1024 + 1);
    let error = in_folder(&[("en/patient_registered.txt", long.as_str())]).unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
    let error = Templates::in_folder(Path::new("/no/such/folder")).unwrap_err();
    assert!(error.to_string().contains("MAIL_TEMPLATES"), "{error}");
}

#[test]
fn a_language_without_a_subject_is_rejected_although_the_layout_would_hide_it() {
    for (file, text) in [
        ("es/patient_registered.subject.txt", ""),
        ("en/patient_deleted.subject.txt", " \n\t"),
        (
            "en/patient_registered.subject.txt",
            "{% if clinic %}{{ clinic }}{% endif %}",
        ),
    ] {
        let refused = in_folder(&[(file, text)]).map(drop).unwrap_err();
        assert_eq!(refused, format!("template {file}: is empty"));
    }
}

#[test]
fn the_clinic_and_the_reply_address_are_included_if_they_are_configured() {
    let values = TemplateValues {
        clinic: Some("Clínica <Sol>"),
        reply_to: Some("desk@miapp.com"),
        ..values("Ana")
    };
    let templates = Templates::built_in().unwrap();
    let mail = templates
        .render(Template::PatientRegistered, &Languages::default(), &values)
        .unwrap();
    assert!(
        mail.text.contains("Gracias por su confianza.\nClínica <Sol>\n"),
        "{}",
        mail.text
    );
    assert!(
        mail.html
            .contains("Thank you for your trust.<br>Clínica &lt;Sol&gt;</p>"),
        "{}",
        mail.html
    );
    for part in [&mail.text, &mail.html] {
        assert!(
            part.contains("Si responde, su mensaje llegará a desk@miapp.com."),
            "{part}"
        );
        assert!(!part.contains("no recibe respuestas"), "{part}");
    }
    let without = rendered("es,en", "Ana");
    for part in [&without.text, &without.html] {
        assert!(
            part.contains("no recibe respuestas") && !part.contains("Si responde"),
            "{part}"
        );
    }
}

/// The relative luminance of `#rrggbb` (WCAG 2.1).
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn small_text_is_legible_in_light_and_dark_mode() {
    let html = rendered("es,en", "Ana").html;
    let colours: Vec<_> = html
        .match_indices(" color: #")
        .map(|(at, found)| &html[at + found.len() - 1..at + found.len() + 6])
        .collect();
    let [light, dark] = colours.as_slice() else {
        panic!("one colour for each: {colours:?}")
    };
    assert!(
        html.contains(&format!("dark) {{ .small {{ color: {dark};")),
        "{html}"
    );
    // Typical backgrounds of mail programs: white and light grays, black and dark grays.
    for background in ["#ffffff", "#f6f8fa"] {
        let ratio = contrast(light, background);
        assert!(ratio >= 4.5, "{light} on {background}: {ratio}");
    }
    for background in ["#000000", "#121212", "#1c1b22", "#2b2b2b"] {
        let ratio = contrast(dark, background);
        assert!(ratio >= 4.5, "{dark} on {background}: {ratio}");
    }
}

fn at() -> TimeParts {
    TimeParts {
        year: 2026,
        month: 2,
        day: 3,
        time: "10:15".to_owned(),
    }
}

#[test]
fn a_notice_names_the_changed_fields_in_each_language_and_escapes_the_name() {
    let values = TemplateValues {
        reported: ReportedEvent::Amended {
            at: at(),
            changed: vec!["email", "document_url"],
        },
        ..values("<b>Ana</b>")
    };
    let templates = Templates::built_in().unwrap();
    let mail = templates
        .render(Template::PatientAmended, &Languages::default(), &values)
        .unwrap();
    assert_eq!(
        mail.subject,
        "Los datos de su registro han cambiado / Your registration details have changed"
    );
    let text = &mail.text;
    assert!(text.contains("Hola, <b>Ana</b>:\n\nHemos actualizado"), "{text}");
    assert!(text.contains("\nDatos modificados: correo electrónico, foto del documento\nFecha del cambio: 3 de febrero de 2026, 10:15 (UTC)\n"), "{text}");
    assert!(text.contains("\nChanged details: email address, photo of the document\nChanged on: 3 February 2026, 10:15 (UTC)\n"), "{text}");
    let html = &mail.html;
    assert!(
        !html.contains("<b>") && html.contains("Hola, &lt;b&gt;Ana"),
        "{html}"
    );
    assert!(
        html.contains("</strong> correo electrónico, foto del documento<br>"),
        "{html}"
    );
    assert!(
        html.contains("</strong> email address, photo of the document<br>"),
        "{html}"
    );
}

#[test]
fn the_notice_to_the_previous_address_contains_instructions_in_each_language() {
    let values = TemplateValues {
        reported: ReportedEvent::EmailChanged { at: at() },
        ..values("<b>Ana</b>")
    };
    let templates = Templates::built_in().unwrap();
    let mail = templates
        .render(Template::PatientEmailChanged, &Languages::default(), &values)
        .unwrap();
    assert_eq!(
        mail.subject,
        "El correo electrónico de su registro ha cambiado / The email address of your registration has changed"
    );
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("¿No ha solicitado este cambio?"), "{part}");
        assert!(part.contains("Did you not request this change?"), "{part}");
        assert!(part.contains("3 de febrero de 2026, 10:15 (UTC)"), "{part}");
        assert!(part.contains("3 February 2026, 10:15 (UTC)"), "{part}");
    }
    assert!(!mail.html.contains("<b>"), "{}", mail.html);
}

#[test]
fn templates_that_a_folder_for_an_older_version_lacks_are_the_built_in_ones() {
    let older: Vec<_> = built_in::FILES
        .into_iter()
        .filter(|(name, _)| !name.contains("amended") && !name.contains("email_changed"))
        .collect();
    assert_eq!(older.len(), 15);
    let templates = in_folder(&older).unwrap();
    let values = TemplateValues {
        reported: ReportedEvent::EmailChanged { at: at() },
        ..values("Ana")
    };
    let rendered = |templates: &Templates| {
        templates.render(Template::PatientEmailChanged, &Languages::default(), &values)
    };
    assert_eq!(rendered(&templates), rendered(&Templates::built_in().unwrap()));
}

#[test]
fn a_receipt_is_shown_only_if_there_is_one() {
    let templates = Templates::built_in().unwrap();
    let rendered = |receipt| {
        let values = TemplateValues {
            receipt,
            ..values("Ana")
        };
        let rendered = templates.render(Template::PatientRegistered, &Languages::default(), &values);
        rendered.unwrap()
    };
    let without = rendered(None);
    assert!(!without.text.contains("Comprobante") && !without.html.contains("Receipt"));
    let receipt = Receipt::new(
        "https://api.example.com",
        Position::BEGINNING.next(),
        Hash::default(),
    );
    let with = rendered(Some(receipt));
    let zeros = "0".repeat(64);
    for language in ["Comprobante", "Receipt"] {
        let line = format!("{language}: https://api.example.com/log/proof/1\n");
        assert!(
            with.text.contains(&line) && with.text.contains(&zeros),
            "{}",
            with.text
        );
    }
    let html = with.html.replace("&#x2f;", "/");
    assert!(html.contains("href=\"https://api.example.com/log/proof/1\"") && html.contains(&zeros));
}
