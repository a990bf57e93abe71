use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::FILES;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

/// Returns the paths of the scripts and style sheets below a folder.
fn below(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut found = BTreeSet::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(below(&path));
        } else if path.extension().is_some_and(|kind| kind == "js" || kind == "css") {
            let relative = path.strip_prefix(assets()).map(Path::to_string_lossy);
            found.extend(relative.map(String::from));
        }
    }
    found
}

fn is_script(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == "js")
}

fn text(name: &str) -> String {
    fs::read_to_string(assets().join(name)).unwrap_or_default()
}

#[test]
fn every_script_and_style_sheet_is_embedded() {
    let embedded: BTreeSet<_> = FILES.paths().map(str::to_owned).collect();
    assert_eq!(embedded, below(&assets()));
}

#[test]
fn modules_import_only_embedded_modules() {
    let embedded: BTreeSet<_> = FILES.paths().collect();
    for name in embedded.iter().filter(|name| is_script(name)) {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let script = text(name);
        let imports = script.split("from\"").chain(script.split("from \"")).skip(1);
        for import in imports.filter_map(|rest| rest.split_once('"').map(|(path, _)| path)) {
            let path = match (import.strip_prefix("./"), import.strip_prefix("../")) {
                (Some(beside), _) if folder.is_empty() => beside.to_owned(),
                (Some(beside), _) => format!("{folder}/{beside}"),
                (None, Some(above)) => above.to_owned(),
                (None, None) => continue,
            };
            assert!(embedded.contains(path.as_str()), "{name} imports {import}");
        }
    }
}

/// Otherwise, the browser requests a module only after it has read the modules that import it.
#[test]
fn the_page_preloads_every_module() {
    let page = text("index.html");
    let modules = FILES
        .paths()
        .filter(|name| is_script(name) && *name != "scheme.js");
    for name in modules {
        let preload = format!("<link rel=\"modulepreload\" href=\"console/{name}\">");
        assert!(page.contains(&preload), "{name}");
    }
}

/// Returns the keys and texts of a module with texts.
fn texts(name: &str) -> Vec<(String, String)> {
    let texts = text(name);
    let entries = texts.lines().filter_map(|line| line.strip_prefix("  "));
    entries
        .filter_map(|entry| match entry.strip_prefix('"') {
            Some(quoted) => quoted.split_once("\": "),
            None => entry.split_once(": "),
        })
        .map(|(key, text)| {
            let text = text.trim_end_matches(',').trim_matches('"');
            (key.to_owned(), text.replace("\\\"", "\"").replace("\\\\", "\\"))
        })
        .collect()
}

/// Returns the keys of a module with texts.
fn keys(name: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (key, _) in texts(name) {
        assert!(keys.insert(key.clone()), "{key} occurs twice in {name}");
    }
    keys
}

/// `scripts/pictures` lists the texts of the console that each picture of the documentation shows.
#[test]
fn the_pictures_show_texts_that_the_console_still_has() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    let list = fs::read_to_string(images.join("console.json")).unwrap();
    let pictures: BTreeMap<String, Value> = serde_json::from_str(&list).unwrap();
    let files = fs::read_dir(images)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<_> = files
        .filter_map(|name| name.to_str()?.strip_suffix(".webp").map(str::to_owned))
        .filter(|name| name.starts_with("console-"))
        .collect();
    assert_eq!(files, pictures.keys().cloned().collect());
    for (name, picture) in pictures {
        let shown = picture["texts"].as_array().unwrap();
        assert!(shown.len() > 5, "{name}: {shown:?}");
        let language = picture["language"].as_str().unwrap();
        let current = texts(&format!("{language}.js")).into_iter();
        let current: BTreeSet<_> = current.map(|(_, text)| text).collect();
        let gone: Vec<_> = shown
            .iter()
            .filter(|text| !current.contains(text.as_str().unwrap()))
            .collect();
        assert!(gone.is_empty(), "run scripts/pictures: {name} shows {gone:?}");
    }
}

#[test]
fn each_text_exists_in_both_languages() {
    let (english, spanish) = (keys("en.js"), keys("es.js"));
    assert!(english.len() > 200, "{}", english.len());
    let missing: Vec<_> = english.difference(&spanish).collect();
    assert!(missing.is_empty(), "not in Spanish: {missing:?}");
    // The server's own texts are in English.
    let translated = |key: &&String| key.starts_with("problem.") || key.starts_with("field.");
    let unknown: Vec<_> = spanish
        .difference(&english)
        .filter(|key| !translated(key))
        .collect();
    assert!(unknown.is_empty(), "only in Spanish: {unknown:?}");
}
