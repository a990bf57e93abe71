//! axe-core, which finds problems of accessibility. `scripts/install axe` downloads it from npm.
//!
//! Without axe-core, the pages are tested for everything else, and a message is printed. If the variable
//! `TEST_AXE` is `required`, as in the project's own checks, the test fails instead.

use std::path::PathBuf;

use serde_json::Value;

use super::Tab;

/// The version that `scripts/install` downloads.
const VERSION: &str = "4.14.1";

/// The script of axe-core, if it is installed.
pub(super) fn script() -> Option<String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let file = cache.join(format!("patients/axe-core-{VERSION}/axe.min.js"));
    let script = std::fs::read_to_string(&file).ok();
    let required = std::env::var("TEST_AXE").is_ok_and(|value| value == "required");
    assert!(
        script.is_some() || !required,
        "axe-core is required: run `scripts/install axe`"
    );
    if script.is_none() {
        println!("axe-core is not installed: accessibility was not tested");
    }
    script
}

/// Rules of axe-core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    All,
    /// The rules about colors.
    Colors,
}

impl Tab {
    /// Returns what axe-core finds on the page as it is.
    pub(super) async fn violations(&self, rules: Rules) -> Vec<Value> {
        let run = "const [colors, done] = arguments;
            const runOnly = colors ? {runOnly: ['color-contrast', 'link-in-text-block']} : {};
            axe.run(document, {resultTypes: ['violations'], selectors: false, ...runOnly}).then(
                ({violations}) => done(violations.map(({id, nodes}) => [id, nodes[0].html, nodes[0].failureSummary])),
                (error) => done([String(error)]))";
        let found = self
            .browser
            .execute_async(run, vec![(rules == Rules::Colors).into()])
            .await
            .unwrap();
        found.as_array().unwrap().clone()
    }
}
