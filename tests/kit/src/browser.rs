//! A browser under remote control.

use std::path::{Path, PathBuf};

use crate::guardian::Folder;
use crate::installed;
use crate::port::free_port;
use crate::service::{Probe, Service};

/// Chromium's `WebDriver` server. The browser starts and ends with a session.
pub struct WebDriver {
    url: String,
    browser: PathBuf,
    profile: PathBuf,
    _service: Service,
    _folder: Folder,
}

impl WebDriver {
    /// Starts `chromedriver`.
    pub async fn start() -> Self {
        let found = |name| {
            installed::find(&[name], |_| true)
                .expect("Chromium is not installed: `apt-get install chromium chromium-driver`")
        };
        let (program, browser) = (found("chromedriver"), found("chromium"));
        let folder = Folder::new();
        let port = free_port();
        let log = folder.path().join("log");
        let service = Service::start(
            "chromedriver",
            &program,
            (port, Probe::Connects),
            log,
            |command| {
                command.arg(format!("--port={port}"));
            },
        );
        Self {
            url: format!("http://127.0.0.1:{port}"),
            browser,
            profile: folder.path().join("profile"),
            _service: service.await,
            _folder: folder,
        }
    }

    /// Returns the URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the path of the browser.
    pub fn browser(&self) -> &Path {
        &self.browser
    }

    /// Returns the options of a headless browser that makes no background connections and stores nothing.
    pub fn options(&self) -> Vec<String> {
        let fixed = [
            "--headless",
            // In containers, and as root, the browser has no permission to create a sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,1000",
        ];
        let profile = format!("--user-data-dir={}", self.profile.display());
        fixed.into_iter().map(str::to_owned).chain([profile]).collect()
    }
}
