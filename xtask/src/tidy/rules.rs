//! Rules about what stands in a file.

use super::{
    Complaint, Rule,
    source::{Source, has_word},
};

/// Where `unsafe` may stand: the boundary, and the loader that opens libraries.
const UNSAFE_ROOMS: [&str; 3] = [
    "plugin-api/src/abi.rs",
    "plugin-api/src/abi/",
    "host/src/loader/",
];

/// Plugins that are planned, so that the host does not come to know one before it is there.
const PLANNED: [&str; 7] = [
    "auth",
    "orchestrator",
    "scheduler",
    "jobs",
    "mail",
    "storage",
    "graphql",
];

/// Ids that are ordinary words of the host's own business: as a literal they name no plugin.
const ORDINARY: [&str; 1] = ["stream"];

/// A file is split at this length, unless it is a table.
const LINES_MAX: usize = 800;

/// The longest pause of a loop that looks again. Longer ones are a guess at how long something takes.
const POLL_MS_MAX: u64 = 50;

/// All complaints about one file.
pub(super) fn check(source: &Source, plugins: &[&str]) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut complain = |rule, line, text: String| {
        found.push(Complaint {
            rule,
            path: source.path.clone(),
            line,
            text,
        });
    };
    introduction(source, &mut complain);
    length(source, &mut complain);
    unsafe_code(source, &mut complain);
    forbid(source, &mut complain);
    plugin_names(source, plugins, &mut complain);
    sql(source, &mut complain);
    environment(source, &mut complain);
    sleep(source, &mut complain);
    found
}

fn introduction(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    if !source.text.starts_with("//!") {
        complain(
            Rule::Introduction,
            1,
            "begin with `//!`: what is here, and why here".to_owned(),
        );
    }
}

fn length(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    let lines = source.code.len();
    if lines > LINES_MAX {
        complain(
            Rule::Length,
            0,
            format!("{lines} lines, at most {LINES_MAX}: split it where the story has a seam"),
        );
    }
}

fn unsafe_code(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    if UNSAFE_ROOMS
        .iter()
        .any(|room| source.path.starts_with(room))
    {
        return;
    }
    for (line, code) in source.lines() {
        if has_word(code, "unsafe") {
            complain(
                Rule::Unsafe,
                line,
                "unsafe code stands only in plugin-api/src/abi and host/src/loader".to_owned(),
            );
        }
    }
}

fn forbid(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    let is_root = source.path.starts_with("plugins/") && source.path.ends_with("/src/lib.rs");
    if !is_root {
        return;
    }
    // After `//!` and before the first item.
    let head = source
        .code
        .iter()
        .map(|line| line.trim())
        .take_while(|line| line.is_empty() || line.starts_with("#!["));
    if !head
        .into_iter()
        .any(|line| line == "#![forbid(unsafe_code)]")
    {
        complain(
            Rule::Forbid,
            1,
            "a plugin begins with #![forbid(unsafe_code)]".to_owned(),
        );
    }
}

fn plugin_names(source: &Source, plugins: &[&str], complain: &mut impl FnMut(Rule, usize, String)) {
    if !source.path.starts_with("host/src/") {
        return;
    }
    let names = || plugins.iter().chain(&PLANNED);
    for (line, text) in &source.strings {
        if !source.is_test(*line)
            && let Some(name) = names().find(|name| *name == text && !ORDINARY.contains(name))
        {
            complain(
                Rule::PluginName,
                *line,
                format!("the host names no plugin, and this is `{name}`"),
            );
        }
    }
    for (line, code) in source.lines() {
        if let Some(name) =
            names().find(|name| has_word(code, &format!("nself_plugin_{}", name.replace('-', "_"))))
        {
            complain(
                Rule::PluginName,
                line,
                format!("the host imports no plugin, and this is `{name}`"),
            );
        }
    }
}

fn sql(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    let is_store = source.path.ends_with("/store.rs") || source.path.contains("/store/");
    if !source.path.starts_with("plugins/") || is_store {
        return;
    }
    for (line, text) in &source.strings {
        if !source.is_test(*line) && is_sql(text) {
            complain(
                Rule::Sql,
                *line,
                "SQL stands only in store.rs and in migrations".to_owned(),
            );
        }
    }
}

/// Whether a literal begins as a statement does, and goes on as one.
fn is_sql(text: &str) -> bool {
    let text = text.trim_start().to_lowercase();
    let then = |verb: &str, signs: &[&str]| {
        text.strip_prefix(verb)
            .is_some_and(|rest| signs.iter().any(|sign| rest.contains(sign)))
    };
    then("select ", &[" from ", "(", "$"])
        || then("update ", &[" set "])
        || then("with ", &[" as (", " as materialized ("])
        || then("copy ", &[" from ", " to "])
        || [
            "insert into ",
            "delete from ",
            "create table ",
            "create index ",
            "alter table ",
            "drop table ",
            "truncate ",
        ]
        .iter()
        .any(|start| text.starts_with(start))
}

fn environment(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    let rooms = ["host/src/", "plugin-api/src/", "plugins/"];
    let is_config = source.path.ends_with("/config.rs") || source.path.contains("/config/");
    if is_config || !rooms.iter().any(|room| source.path.starts_with(room)) {
        return;
    }
    for (line, code) in source.lines() {
        let reads = ["env::var(", "env::vars(", "env::var_os(", "env::vars_os("];
        if !source.is_test(line) && reads.iter().any(|read| code.contains(read)) {
            complain(
                Rule::Environment,
                line,
                "the environment is read only in config.rs".to_owned(),
            );
        }
    }
}

fn sleep(source: &Source, complain: &mut impl FnMut(Rule, usize, String)) {
    for (line, code) in source.lines() {
        if source.is_test(line)
            && has_word(code, "sleep")
            && code.contains("sleep(")
            && !is_poll(code)
        {
            complain(
                Rule::Sleep,
                line,
                format!(
                    "a test waits for a signal, or looks again every {POLL_MS_MAX} ms at most, with a limit"
                ),
            );
        }
    }
}

/// Whether the pause is written out and short.
fn is_poll(code: &str) -> bool {
    let digits = code
        .split("from_millis(")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    digits
        .and_then(|digits| digits.parse().ok())
        .is_some_and(|pause: u64| pause <= POLL_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_file(path: &str, text: &str, expected: &[Rule]) {
        let found = check(&Source::new(path, text), &["hello"]);
        let rules: Vec<Rule> = found.iter().map(|complaint| complaint.rule).collect();
        assert_eq!(rules, expected, "{path}: {text}");
    }

    #[test]
    fn a_file_says_what_it_is_for_and_has_an_end() {
        check_file("host/src/a.rs", "//! A.\nfn f() {}\n", &[]);
        check_file("host/src/a.rs", "fn f() {}\n", &[Rule::Introduction]);
        check_file(
            "host/src/a.rs",
            &format!("//! A.\n{}", "\n".repeat(LINES_MAX)),
            &[Rule::Length],
        );
    }

    #[test]
    fn unsafe_code_stays_at_the_boundary() {
        let text = "//! A.\nfn f() { unsafe { g() } }\n";
        check_file("host/src/http/a.rs", text, &[Rule::Unsafe]);
        check_file("plugin-api/src/abi/a.rs", text, &[]);
        check_file("host/src/loader/open.rs", text, &[]);
        check_file(
            "host/src/http/a.rs",
            "//! Not unsafe.\n#![forbid(unsafe_code)]\nconst A: &str = \"unsafe\";\n",
            &[],
        );
    }

    #[test]
    fn a_plugin_forbids_unsafe_code_before_anything_else() {
        check_file(
            "plugins/hello/src/lib.rs",
            "//! A.\n#![forbid(unsafe_code)]\n\nmod a;\n",
            &[],
        );
        check_file(
            "plugins/hello/src/lib.rs",
            "//! A.\nmod a;\n#![forbid(unsafe_code)]\n",
            &[Rule::Forbid],
        );
    }

    #[test]
    fn the_host_names_no_plugin() {
        check_file(
            "host/src/a.rs",
            "//! A.\nconst A: &str = \"hello\";\n",
            &[Rule::PluginName],
        );
        check_file(
            "host/src/a.rs",
            "//! A.\nconst A: &str = \"auth\";\n",
            &[Rule::PluginName],
        );
        check_file(
            "host/src/a.rs",
            "//! A.\nuse nself_plugin_hello::Hello;\n",
            &[Rule::PluginName],
        );
        check_file(
            "host/src/a.rs",
            "//! A.\nconst A: &str = \"hello, world\";\n",
            &[],
        );
        check_file(
            "host/src/a.rs",
            "//! A.\n#[cfg(test)]\nconst A: &str = \"hello\";\n",
            &[],
        );
    }

    #[test]
    fn sql_of_a_plugin_stands_in_its_store() {
        let text = "//! A.\nconst A: &str = \"select id from notes\";\n";
        check_file("plugins/hello/src/routes.rs", text, &[Rule::Sql]);
        check_file("plugins/hello/src/store.rs", text, &[]);
        check_file("plugins/hello/src/store/notes.rs", text, &[]);
        check_file(
            "plugins/hello/src/a.rs",
            "//! A.\nconst A: &str = \"select a plan that fits\";\n",
            &[],
        );
        check_file(
            "plugins/hello/src/a.rs",
            "//! A.\nconst A: &str = \"UPDATE notes\\n SET a = 1\";\n",
            &[Rule::Sql],
        );
    }

    #[test]
    fn the_environment_is_read_in_one_place() {
        let text = "//! A.\nfn f() { std::env::var(\"A\"); }\n";
        check_file("plugins/hello/src/a.rs", text, &[Rule::Environment]);
        check_file("plugins/hello/src/config.rs", text, &[]);
        check_file("host/src/config/variables.rs", text, &[]);
    }

    #[test]
    fn a_test_looks_again_and_does_not_guess() {
        let pause = |pause| format!("//! A.\nfn f() {{ sleep(Duration::{pause}); }}\n");
        check_file("host/tests/it/a.rs", &pause("from_secs(1)"), &[Rule::Sleep]);
        check_file(
            "host/tests/it/a.rs",
            &pause("from_millis(200)"),
            &[Rule::Sleep],
        );
        check_file("host/tests/it/a.rs", &pause("from_millis(20)"), &[]);
        check_file("host/src/a.rs", &pause("from_secs(1)"), &[]);
        check_file(
            "host/tests/it/a.rs",
            "//! A.\nfn f() { until_asleep(); query(\"select pg_sleep(1)\"); }\n",
            &[],
        );
    }
}
