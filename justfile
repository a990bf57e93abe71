# The commands in CONTRIBUTING.md, by name. `just` lists them.

_list:
    @just --list --unsorted

# Serves on http://127.0.0.1:8000 with SQLite, the in-process signal and mail as files
run *arguments:
    cargo run -- {{ arguments }}

# Runs everything that CI runs
ci:
    .ci/run

# Runs every test, or the selected ones: `just test -p eventstore`
test *arguments:
    scripts/test {{ arguments }}

# Checks formatting and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Checks licenses and sources of the dependencies
deny:
    scripts/deny

# Checks the files in deploy
deploy-check:
    scripts/deploy-check

# Tests the API against its OpenAPI document
schemathesis *arguments:
    scripts/schemathesis {{ arguments }}

# Generates clients, and runs them against the service: docs/clients.md
clients:
    scripts/clients

# Builds the Debian package
package *arguments:
    scripts/package {{ arguments }}

# Installs, upgrades and removes the Debian package in a minimal system
package-test:
    scripts/package-test

# Injects random faults under load and checks the results with an oracle: docs/reliability.md
chaos *arguments='--minutes 6':
    scripts/chaos {{ arguments }}

# Tests an upgrade from an older program under load
upgrade:
    scripts/upgrade

# Measures the program against its yardsticks: docs/performance.md
bench *arguments:
    scripts/bench {{ arguments }}

# Sends requests at a constant rate to a running service: loadtest/README.md
load *arguments:
    scripts/load {{ arguments }}

# Runs the fuzz targets
fuzz *arguments:
    scripts/fuzz {{ arguments }}

# Regenerates docs/openapi.json
openapi:
    cargo run -- openapi > docs/openapi.json
