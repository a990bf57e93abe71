//! Every page, in both languages and color schemes and at three widths, with data that is hostile to pages.

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use super::axe::Rules;
use super::{Service, Tab, axe, command, log_key};
use crate::client::{Client, id_of};
use crate::rig::SOON;

/// Names that break pages that are not careful: markup, another direction, a long word, emoji.
fn hostile_names() -> [String; 4] {
    [
        "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>".to_owned(),
        "\u{5d0}\u{5d1}\u{5d2} ש\u{5c1}לום مرحبا".to_owned(),
        "W".repeat(200),
        "👩‍👩‍👧‍👦 Zoë 🧑🏽‍⚕️".to_owned(),
    ]
}

/// Registers the hostile patients, amends the first, and erases the last. Returns their ids.
async fn hostile(client: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    for (number, name) in hostile_names().into_iter().enumerate() {
        let body = json!({
            "name": name, "email": format!("{}{number}@example.com", "e".repeat(60)), "phone": "0".repeat(64),
            "document_url": format!("https://example.com/{}", "x".repeat(1000)),
        });
        let answer: Value = client.post_json("/register", &body).await.json().await.unwrap();
        ids.push(id_of(&answer).to_owned());
    }
    let changes = json!({"name": "\"><svg onload=alert(1)>", "phone": "12"});
    assert_eq!(client.amend(&ids[0], &changes).await.status(), 200);
    let erasure = format!("/patients/{}/erasure", ids[3]);
    let erased = client.post_json(&erasure, &json!({"reason": "request"})).await;
    // With 202, the erasure is still in progress.
    assert!(erased.status().is_success(), "{}", erased.status());
    // A patient who can be erased, and a patient who cannot.
    let deleted = client.register("deleted@example.com").await.unwrap();
    let deleted: Value = deleted.json().await.unwrap();
    assert_eq!(client.delete(id_of(&deleted)).await.unwrap().status(), 204);
    let hold = json!({"until": "2999-12-31", "reason": "legal_claim"});
    assert_eq!(
        client
            .put_json(&format!("/patients/{}/hold", ids[2]), &hold)
            .await
            .status(),
        200
    );
    ids
}

/// Returns the problems of the page as it is, at each width and in both color schemes.
pub(super) async fn problems(tab: &Tab, here: &str) -> Vec<String> {
    let axe = tab.run("return 'axe' in window").await == true;
    let mut problems = Vec::new();
    for width in [360, 768, 1280] {
        for scheme in ["light", "dark"] {
            screen(tab, width, scheme).await;
            let here = format!("{here}, {scheme}, {width} px");
            let wide = tab.run("return document.documentElement.scrollWidth").await;
            if wide.as_u64().unwrap() > u64::from(width) {
                problems.push(format!("{here}: the page is {wide} px wide"));
            }
            if axe {
                // The scheme changes nothing but the colors.
                let rules = if scheme == "light" {
                    Rules::All
                } else {
                    Rules::Colors
                };
                let found = tab.violations(rules).await.into_iter();
                problems.extend(found.map(|violation| format!("{here}: {violation}")));
            }
        }
    }
    problems
}

/// Sets the width and the color scheme of the screen.
async fn screen(tab: &Tab, width: u32, scheme: &str) {
    let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    tab.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    // Without motion, the colors are not measured during a transition.
    let features = json!({"features": [
        {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
    ]});
    tab.devtools("Emulation.setEmulatedMedia", features).await;
}

#[tokio::test]
async fn every_page_is_sound_in_each_language_scheme_and_width() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    log_key(folder.path());
    let service = Service::start(&mut command(folder.path(), port), port).await;
    let ids = hostile(&service.client).await;
    let tab = Tab::open(port).await;
    let axe = axe::script();
    if let Some(axe) = &axe {
        tab.sees("Find patients").await;
        tab.run(axe).await;
    }
    // A page, and a text that shows that its data has arrived, in both languages.
    let pages = [
        ("patients".to_owned(), ["WWWW"; 2]),
        ("patients/new".to_owned(), ["Document URL", "URL del documento"]),
        (format!("patients/{}", ids[0]), ["<svg onload=alert(1)>"; 2]),
        (format!("patients/{}", ids[1]), ["مرحبا"; 2]),
        (format!("patients/{}", ids[2]), ["WWWW"; 2]),
        (
            format!("patients/{}", ids[3]),
            ["Erased patient", "Paciente con datos borrados"],
        ),
        (
            format!("patients/{}/history", ids[0]),
            ["Not verified", "Sin verificar"],
        ),
        (
            format!("patients/{}/history", ids[3]),
            ["Not verified", "Sin verificar"],
        ),
        ("log".to_owned(), ["Not verified", "Sin verificar"]),
        ("checkpoints".to_owned(), ["log.example.org"; 2]),
        ("reads".to_owned(), ["anonymous"; 2]),
        (
            "privacy".to_owned(),
            ["December 31, 2999", "31 de diciembre de 2999"],
        ),
        (format!("privacy/{}", ids[0]), ["No hold", "Sin retención"]),
        (format!("privacy/{}", ids[3]), ["Complete", "Completo"]),
        ("overview".to_owned(), ["0.2.0-dev"; 2]),
        ("projections".to_owned(), ["patient_names"; 2]),
        ("checks".to_owned(), ["opens the log"; 2]),
        ("mail".to_owned(), ["data/outbox"; 2]),
        ("mail/1".to_owned(), ["Sent", "Enviado"]),
        ("mail/test".to_owned(), ["noreply@miapp.com"; 2]),
        (
            "nowhere".to_owned(),
            ["There is no such page", "Esta página no existe"],
        ),
    ];
    // An erased patient, and a patient without a hold and without an erasure.
    let expected = [("/patients/", " 410 "), ("/patients/", " 404 ")];
    let mut found = Vec::new();
    for (language, name) in ["en", "es"].into_iter().enumerate() {
        let switch = format!(
            "const choice = document.querySelector('.preferences select');
             choice.value = '{name}'; choice.dispatchEvent(new Event('change'))"
        );
        tab.run(&switch).await;
        for (route, texts) in &pages {
            // Each page has a heading of its own, so the text cannot be that of the page before.
            tab.run("document.querySelector('h1').className = 'before'").await;
            tab.go(route).await;
            tab.element("//h1[not(@class = 'before')]").await;
            tab.sees(texts[language]).await;
            found.extend(problems(&tab, &format!("{route} in {name}")).await);
            let said = tab.messages_except(&expected).await.into_iter();
            found.extend(said.map(|message| format!("{route} in {name}: {message}")));
        }
    }
    for (route, button) in [
        (format!("patients/{}", ids[0]), "Eliminar"),
        ("log".to_owned(), "Exportar"),
        (format!("privacy/{}", ids[0]), "Borrar"),
    ] {
        tab.go(&route).await;
        tab.click(button).await;
        tab.element("//dialog").await;
        if axe.is_some() {
            let violations = tab.violations(Rules::All).await.into_iter();
            found.extend(violations.map(|violation| format!("the dialog of {route}: {violation}")));
        }
        tab.click("Cancelar").await;
    }
    let said = tab.messages_except(&expected).await.into_iter();
    found.extend(said.map(|message| format!("a dialog: {message}")));
    assert_eq!(tab.run("return document.documentElement.lang").await, "es");
    let page = tab.run("return document.title").await;
    assert!(!page.as_str().unwrap().contains("owned"));
    // The pages that are not part of the console.
    for path in ["/", "/problems", "/problems/patient-not-found"] {
        tab.browser.goto(&service.client.url(path)).await.unwrap();
        if let Some(axe) = &axe {
            tab.run(axe).await;
        }
        found.extend(problems(&tab, path).await);
        let said = tab.messages().await.into_iter();
        found.extend(said.map(|message| format!("{path}: {message}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    tab.close().await;
}

#[tokio::test]
async fn the_console_loads_less_than_150_kib() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let service = Service::start(
        command(folder.path(), port)
            .env_remove("LOG_ORIGIN")
            .env_remove("LOG_KEY_FILE"),
        port,
    )
    .await;
    service.client.register("ana@example.com").await.unwrap();
    let tab = Tab::open(port).await;
    tab.sees("Patients shown: 1").await;
    let size = "return performance.getEntriesByType('resource')
        .filter(({name}) => name.includes('/console/'))
        .reduce((sum, {encodedBodySize}) => sum + encodedBodySize, 0)";
    // Every script and style sheet that the page names.
    let awaited =
        "const loaded = performance.getEntriesByType('resource').filter(({responseEnd}) => responseEnd > 0);
        const names = new Set(loaded.map(({name}) => name));
        return [...document.querySelectorAll('link[rel=modulepreload], link[rel=stylesheet]')]
            .filter(({href}) => !names.has(href)).length";
    let mut bytes = 0;
    wait_until(SOON, "all files are loaded, and no more are", async || {
        let before = bytes;
        bytes = tab.run(size).await.as_u64().unwrap();
        tab.run(awaited).await == 0 && bytes == before
    })
    .await;
    assert!(bytes < 150 * 1024, "{bytes} bytes");
    tab.close().await;
}
