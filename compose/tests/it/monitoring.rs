//! What watches the host: alert rules, a dashboard and runbooks. Prometheus's own tool judges the first two; what they look at is held
//! against a host with all plugins (`native`).

use std::{collections::BTreeSet, fs, path::Path};

use nself_compose::shell::{answer, root, tool};
use serde_json::{Value, json};

/// Ends of the names by which a histogram is asked for.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

fn read(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_alert_fires_when_it_should_and_not_when_all_is_well() {
    let directory = root().join("monitoring");
    let mut check = tool("promtool");
    check.args(["check", "rules", "alerts.yaml"]);
    answer(check.current_dir(&directory)).good("promtool check rules");
    let mut test = tool("promtool");
    test.args(["test", "rules", "alerts_test.yaml"]);
    answer(test.current_dir(&directory)).good("promtool test rules");
    let fired = read("monitoring/alerts_test.yaml");
    for alert in values(&read("monitoring/alerts.yaml"), "- alert: ") {
        let named = format!("alertname=\"{alert}\"");
        assert!(fired.contains(&named), "no test fires {alert}");
    }
}

#[test]
fn every_alert_has_a_page_that_says_what_to_do() {
    let pages = values(&read("monitoring/alerts.yaml"), "runbook: ");
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let text = read(&page);
        assert!(text.contains("Alert"), "{page} names no alert");
    }
    let index = read("docs/operator/README.md");
    for page in runbooks() {
        let name = page.file_name().expect("a file").to_string_lossy();
        assert!(
            name == "README.md" || index.contains(&*name),
            "{name} is not in the list of runbooks"
        );
    }
}

/// Each panel's question, as a recording rule, which Prometheus can judge.
#[test]
fn every_panel_asks_something_that_prometheus_understands() {
    let rules: Vec<Value> = questions()
        .iter()
        .enumerate()
        .map(|(number, question)| json!({"record": format!("panel:{number}"), "expr": in_force(question)}))
        .collect();
    assert!(rules.len() > 20, "{rules:?}");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("panels.yaml");
    // JSON is YAML.
    let text = json!({"groups": [{"name": "panels", "rules": rules}]}).to_string();
    fs::write(&file, text).expect("it is written");
    let mut check = tool("promtool");
    check.args(["check", "rules"]).arg(&file);
    answer(&mut check).good("promtool check rules");
}

/// Everything that alerts and panels look at is shown by a host with all plugins.
pub(crate) fn what_is_watched_is_there(shown: &str) {
    let mut wanted: BTreeSet<String> = metrics(&read("monitoring/alerts.yaml"));
    for question in questions() {
        wanted.extend(metrics(&question));
    }
    let families: BTreeSet<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for name in wanted {
        let family = PARTS.iter().find_map(|part| name.strip_suffix(part));
        let is_there = [Some(&*name), family]
            .into_iter()
            .flatten()
            .any(|name| families.contains(name));
        // A database in a container of its own has no base backups of the host's.
        let is_elsewhere = name.starts_with("nself_backup_");
        assert!(is_there || is_elsewhere, "{name} is nowhere on /metrics");
    }
}

/// The pages for whoever is called.
pub(crate) fn runbooks() -> Vec<std::path::PathBuf> {
    let directory = root().join("docs/operator");
    let entries = fs::read_dir(&directory).expect("there are runbooks");
    entries
        .map(|entry| entry.expect("it reads").path())
        .filter(|path| path.extension() == Some(Path::new("md").as_os_str()))
        .collect()
}

/// What follows a key, wherever it stands.
fn values(text: &str, key: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key));
    lines.map(str::to_owned).collect()
}

/// What the panels of the dashboard ask.
fn questions() -> Vec<String> {
    let dashboard: Value = read("monitoring/dashboard.json").parse().expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let asked = targets.map(|target| target["expr"].as_str().expect("a question").to_owned());
    asked.collect()
}

/// With values where Grafana puts some.
fn in_force(question: &str) -> String {
    question
        .replace("$__rate_interval", "5m")
        .replace("$instance", ".*")
}

/// Names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_word(letter))
        .filter(|word| word.starts_with("nself_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}
