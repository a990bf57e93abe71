//! What clerks and auditors come to the console for, from beginning to end.

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use super::{Service, Tab, command, log_key};
use crate::client::Client;
use crate::rig::SOON;

#[tokio::test]
async fn a_patient_is_registered_found_amended_looked_back_at_verified_and_erased() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let verifier = log_key(folder.path());
    let service = Service::start(&mut command(folder.path(), port), port).await;
    let tab = Tab::open(port).await;
    // Times are in the zone of the reader.
    let zone = json!({"timezoneId": "Pacific/Kiritimati"});
    tab.devtools("Emulation.setTimezoneOverride", zone).await;
    tab.browser.refresh().await.unwrap();

    let id = registered(&tab, &service.client).await;
    amended(&tab).await;
    looked_back_at(&tab).await;
    readers(&tab, &service.client, &id).await;

    verified(&tab, &id, &verifier).await;

    // An id that is incomplete is not looked up.
    tab.go("privacy").await;
    tab.fill("Patient id", "ana").await;
    tab.click("Open").await;
    tab.sees("Type the complete id of a patient.").await;
    // A malformed pin does not keep the console from starting.
    tab.run("localStorage.setItem('console.pin', '{')").await;
    tab.browser.refresh().await.unwrap();
    tab.sees("Open a patient by id").await;

    held(&tab, &service.client, &id).await;
    tab.click("Erase").await;
    tab.fill("Type the last four characters of the id", &id[id.len() - 4..])
        .await;
    tab.click("Erase").await;
    tab.sees("Download the certificate").await;
    tab.go(&format!("patients/{id}/history")).await;
    tab.sees("The personal data in this event was erased").await;
    assert!(!tab.text().await.contains("Ana"));
    let expected = [
        ("/register", " 422 "),
        ("/patients?", " 422 "),
        ("/audit/reads?", " 422 "),
        ("/patients/", " 404 "),
        ("/patients/", " 410 "),
    ];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
}

/// Registers a patient, and finds the patient. Returns the id.
async fn registered(tab: &Tab, client: &Client) -> String {
    // The server's messages are at their fields.
    tab.click("Register a patient").await;
    tab.fill("Name", "Ana María López").await;
    tab.fill("Email", "ana").await;
    tab.click("Register").await;
    tab.sees("must be a plain email address such as name@example.com")
        .await;
    tab.sees("must not be empty").await;
    let invalid = tab
        .run("return document.querySelectorAll('[aria-invalid=true]').length")
        .await;
    assert_eq!(invalid, 3, "email, phone and document_url");
    wait_until(SOON, "the first wrong field has the focus", async || {
        tab.run("return document.activeElement.name").await == "email"
    })
    .await;
    // A double click registers one patient.
    tab.fill("Email", "ana@example.com").await;
    tab.fill("Phone", "+34 600 123 456").await;
    tab.fill("Document URL", "https://example.com/ana.jpg").await;
    tab.run(
        "const button = [...document.querySelectorAll('form button')].at(-1); button.click(); button.click()",
    )
    .await;
    tab.sees("Amend").await;
    // The list of the console waits for the registration.
    tab.click("Find patients").await;
    tab.sees("Patients shown: 1").await;
    let listed = client.list().await;
    assert_eq!(listed.len(), 1);
    let id = listed[0]["id"].as_str().unwrap().to_owned();

    // Found by the beginnings of words.
    tab.fill("Name, email or id", "lop an").await;
    tab.sees("Patients shown: 1").await;
    tab.fill("Name, email or id", "nobody").await;
    tab.sees("No patient matches").await;
    // A rejected search shows the message of the server instead of an empty result.
    tab.fill("Name, email or id", "a b c d e f g h i").await;
    tab.sees("must contain at most 8 different words").await;
    assert!(!tab.text().await.contains("No patient matches"));
    tab.fill("Name, email or id", "ana@example.com").await;
    tab.click("Ana María López").await;
    id
}

/// Amends the patient whose page is open.
async fn amended(tab: &Tab) {
    // The difference is shown before it is saved.
    tab.click("Amend").await;
    tab.fill("Name", "Ana María Núñez").await;
    tab.click("Review the changes").await;
    tab.sees("Before").await;
    let difference = tab
        .run("return document.querySelector('.difference tbody').innerText")
        .await;
    assert_eq!(difference, "Name\tAna María López\tAna María Núñez");
    tab.click("Save").await;
    tab.sees("The changes were saved.").await;

    // The form is gone, and the focus is on the new page.
    wait_until(SOON, "an element has the focus", async || {
        tab.run("return document.activeElement !== document.body").await == true
    })
    .await;
}

/// Looks at earlier states of the patient whose page is open.
async fn looked_back_at(tab: &Tab) {
    // The slider shows the earlier state.
    tab.click("Timeline").await;
    tab.sees("(2/2)").await;
    // While the slider moves, no past state is read.
    drag(tab, &[0, 1, 0]).await;
    tab.sees("(1/2)").await;
    let state = "return document.querySelector('[aria-live=polite] .facts')?.innerText";
    wait_until(SOON, "the earlier name is shown", async || {
        tab.run(state)
            .await
            .as_str()
            .is_some_and(|shown| shown.contains("Ana María López"))
    })
    .await;

    tab.run("const when = document.querySelector('#when'); when.value = '2001-01-01T00:00:00'; when.dispatchEvent(new Event('input'))")
        .await;
    tab.sees("At that moment, the patient was not registered yet.")
        .await;
    // The time that the page shows for an event gives the state after the event.
    tab.run(
        "const [time] = document.querySelectorAll('.timeline time');
         const moment = new Date(time.dateTime);
         const local = new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
         const when = document.querySelector('#when');
         when.value = local; when.dispatchEvent(new Event('input'))",
    )
    .await;
    tab.sees("(2/2)").await;
    let in_zone = "const time = document.querySelector('.timeline time');
        const zone = {timeZone: 'Pacific/Kiritimati', dateStyle: 'medium', timeStyle: 'medium'};
        return time.innerText === new Intl.DateTimeFormat('en', zone).format(new Date(time.dateTime))";
    assert_eq!(tab.run(in_zone).await, true);
}

/// Places a hold, and releases it.
async fn held(tab: &Tab, client: &Client, id: &str) {
    // A hold is placed and released.
    tab.go(&format!("privacy/{id}")).await;
    tab.sees("No hold").await;
    tab.run("const day = document.querySelector('[type=date]'); day.value = '2999-12-31'; day.dispatchEvent(new Event('input'))")
        .await;
    tab.click("Place the hold").await;
    tab.sees("December 31, 2999").await;
    let hold = async || {
        let path = format!("/patients/{id}/hold");
        client.get(&path).await.unwrap().status()
    };
    assert_eq!(hold().await, 200);
    tab.click("Release the hold").await;
    tab.element("//dialog").await;
    tab.click("Release the hold").await;
    tab.sees("No hold").await;
    assert_eq!(hold().await, 404);
}

/// Moves the slider to each of these events, one after the other.
async fn drag(tab: &Tab, indexes: &[usize]) {
    let script = "const [indexes, done] = arguments;
        const frame = () => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
        (async () => {
            for (const index of indexes) {
                const slider = document.querySelector('[type=range]');
                slider.value = index;
                slider.dispatchEvent(new Event('input'));
                await frame();
                await frame();
            }
        })().then(done)";
    let moved = tab.browser.execute_async(script, vec![json!(indexes)]);
    moved.await.unwrap();
}

/// Checks the record of the reads of a patient: on the timeline, and on its own page.
async fn readers(tab: &Tab, client: &Client, id: &str) {
    let newest = async |query: &str| -> Vec<Value> {
        let path = format!("/audit/reads?order=desc&patient_id={id}{query}");
        client.get(&path).await.unwrap().json().await.unwrap()
    };
    let states = async || {
        let reads = newest("").await;
        reads.iter().filter(|read| read["kind"] == "state").count()
    };
    // The state after the second event, after the first, and after the second again.
    wait_until(SOON, "the page has read three states", async || {
        states().await >= 3
    })
    .await;
    assert_eq!(states().await, 3);
    // The timeline asks for the readers when they are opened.
    let asked =
        "return performance.getEntriesByType('resource').filter(({name}) => name.includes('/reads?')).length";
    assert_eq!(tab.run(asked).await, 0);
    tab.run("[...document.querySelectorAll('summary')].at(-1).click()")
        .await;
    let first = newest("&limit=1").await[0]["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let request = "td[data-heading=Request]";
    let script = format!("return document.querySelector('{request}')?.innerText");
    wait_until(
        SOON,
        "the newest reader is the first on the timeline",
        async || tab.run(&script).await == first.as_str(),
    )
    .await;
    tab.go("reads").await;
    tab.sees("Who read histories").await;
    tab.fill("Patient id", &format!("{id}\n")).await;
    wait_until(SOON, "the newest reader is the first on the page", async || {
        tab.run(&script).await == first.as_str()
    })
    .await;
    tab.fill("Patient id", "ana\n").await;
    tab.sees("must be the id of a patient").await;
    assert!(!tab.text().await.contains("see errors"), "{}", tab.text().await);
}

/// Checks that the events of a patient are verified against what is trusted, and only then.
async fn verified(tab: &Tab, id: &str, verifier: &str) {
    let badges = async |text: &str| {
        let script = format!(
            "return [...document.querySelectorAll('.timeline .badge')].filter(({{innerText}}) => innerText.includes('{text}')).length"
        );
        tab.run(&script).await
    };
    tab.go("checkpoints").await;
    // Neither is base64.
    tab.fill("Verifier key", "log+0123abcd+A").await;
    tab.click("Save").await;
    tab.sees("This is not a verifier key for Ed25519.").await;
    let root = format!("{}=", "A".repeat(43));
    let note = format!("log\\n1\\n{root}\\n\\n\u{2014} log A");
    tab.run(&format!(
        "const field = document.querySelector('textarea'); field.value = '{note}'; field.dispatchEvent(new Event('input'))"
    ))
    .await;
    tab.click("Pin").await;
    tab.sees("This is neither a signed checkpoint nor SIZE:ROOT.")
        .await;
    tab.fill("Verifier key", verifier).await;
    tab.click("Save").await;
    tab.sees("Valid").await;
    tab.go(&format!("patients/{id}/history")).await;
    wait_until(SOON, "the signature verifies both events", async || {
        badges("Verified").await == 2
    })
    .await;

    // A root that the log never had: either the log was rewritten, or the head is not a head of this log.
    tab.go("checkpoints").await;
    tab.fill("Checkpoint", &format!("1:{}", "ab".repeat(32))).await;
    tab.click("Pin").await;
    tab.sees("does not match what you trust").await;
    tab.go(&format!("patients/{id}/history")).await;
    wait_until(SOON, "no event is verified", async || {
        badges("Does not match").await == 2
    })
    .await;

    // The newest checkpoint is pinned, and the key removed.
    tab.go("checkpoints").await;
    tab.click("Remove").await;
    tab.click("Pin this checkpoint").await;
    tab.fill("Verifier key", "").await;
    tab.field("Verifier key").await.send_keys(" ").await.unwrap();
    tab.click("Save").await;
    tab.sees("The newest checkpoint continues it").await;
    tab.go(&format!("patients/{id}/history")).await;
    wait_until(SOON, "the pinned checkpoint verifies both events", async || {
        badges("Verified").await == 2
    })
    .await;
}

#[tokio::test]
async fn a_patient_is_registered_and_deleted_with_the_keyboard_alone() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    log_key(folder.path());
    let service = Service::start(&mut command(folder.path(), port), port).await;
    let tab = Tab::open(port).await;
    tab.go("patients/new").await;
    // The heading gets the focus, so that screen readers announce the page.
    let focus = async |wanted: &str| {
        let what = format!("{wanted:?} has the focus");
        wait_until(SOON, &what, async || {
            let focused = "const {tagName, innerText, name} = document.activeElement; return name || innerText || tagName";
            tab.run(focused).await == wanted
        })
        .await;
    };
    let press = async |keys: &str| {
        let focused = tab.browser.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    };
    let visible = "return getComputedStyle(document.activeElement).outlineStyle";
    focus("Register a patient").await;
    for (field, value) in [
        ("name", "Ana López"),
        ("email", "ana@example.com"),
        ("phone", "600 123 456"),
        ("document_url", "https://example.com/ana.jpg"),
    ] {
        press("\t").await;
        focus(field).await;
        assert_eq!(tab.run(visible).await, "solid");
        press(value).await;
    }
    press("\t\t").await;
    focus("Register").await;
    assert_eq!(tab.run(visible).await, "solid");
    press("\n").await;
    focus("Ana López").await;
    press("\t\t").await;
    focus("Delete").await;
    press("\n").await;
    // The dialog begins with the harmless button.
    focus("Cancel").await;
    press("\t").await;
    focus("Delete").await;
    press("\n").await;
    tab.sees("The patient was deleted.").await;
    wait_until(SOON, "the patient is not listed", async || {
        service.client.list().await.is_empty()
    })
    .await;
    // The erasure of the patient is due.
    let route = tab.run("return location.hash").await;
    let id = route.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    tab.go("privacy").await;
    tab.element(&format!("//section[@aria-labelledby = 'due']//td//a[. = '{id}']"))
        .await;
    let expected = [("/patients/", " 410 ")];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
}
