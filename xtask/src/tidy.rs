//! `cargo xtask tidy`: the rules of the house that a machine can check.
//!
//! Each rule is a function from files to complaints. What may break one stands in [`exempt`], with its reason; an
//! exemption that nothing needs any more is a complaint itself.

mod exempt;
mod layers;
mod layout;
mod rules;
mod source;

use std::fmt;

use crate::{Failure, house::House};

use source::Source;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    rule: Rule,
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    text: String,
}

/// The rules, by the names that an exemption uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Unsafe,
    Forbid,
    PluginName,
    Layers,
    Sql,
    Environment,
    Names,
    Length,
    Introduction,
    Sleep,
    Exemptions,
}

/// Checks everything and prints what is wrong.
///
/// # Errors
///
/// [`Failure::Untidy`] with the number of complaints.
pub(crate) fn run(house: &House) -> Result<(), Failure> {
    let complaints = check(house)?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() {
        println!("tidy");
        return Ok(());
    }
    Err(Failure::Untidy(complaints.len()))
}

fn check(house: &House) -> Result<Vec<Complaint>, Failure> {
    let files = house.files()?;
    let crates = house.crates()?;
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| has_extension(file, "rs")) {
        sources.push(Source::new(file, &house.read(file)?));
    }
    let plugins: Vec<&str> = crates.iter().filter_map(|one| one.plugin_id()).collect();
    let mut complaints = layers::check(&crates);
    complaints.extend(layout::check(&files));
    for source in &sources {
        complaints.extend(rules::check(source, &plugins));
    }
    Ok(exempt::apply(complaints, exempt::EXEMPTIONS))
}

fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} [{:?}]",
            self.path,
            self.line.max(1),
            self.text,
            self.rule
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let complaints = check(&House::here()).expect("git lists the files");
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }
}
