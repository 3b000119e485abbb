//! The register of gaps: one `## id: title` heading per gap, and below it a list of fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Offered;

/// The fields that a row may have. All of them are there, but for [`WHY`] once the gap is closed.
const FIELDS: [&str; 7] = [
    "Status",
    "Capabilities",
    "What",
    "Who",
    WHY,
    "Plan",
    "Acceptance",
];
/// Why the plugins that are there cannot do it.
const WHY: &str = "Why";

/// Whether a gap is still one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Planned, not built.
    Open,
    /// Built, and its acceptance is a test.
    Closed,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Short name, unique.
    pub id: String,
    /// What is missing, in a few words.
    pub title: String,
    /// Whether it is still missing.
    pub status: Status,
    /// Capabilities that it is about; empty for what is no capability.
    pub capabilities: Vec<String>,
    /// What is missing.
    pub what: String,
    /// Who needs it.
    pub who: String,
    /// Why the plugins that are there cannot do it. Empty once it is closed, unless somebody wrote it.
    pub why: String,
    /// How it will be built.
    pub plan: String,
    /// What shows that it is there.
    pub acceptance: String,
}

/// What is wrong with a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or which plugin.
    pub place: String,
    /// Counted from 1, where a line is at fault.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.place, self.message),
            None => write!(formatter, "{}: {}", self.place, self.message),
        }
    }
}

/// All rows, and what is wrong with those that are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    /// The rows, in the order of the file.
    pub gaps: Vec<Gap>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl Register {
    /// Reads a register; `place` names it in faults.
    pub fn parse(place: &str, text: &str) -> Self {
        let mut register = Self::default();
        for section in sections(text) {
            match section.gap() {
                Ok(gap) if register.gaps.iter().any(|other| other.id == gap.id) => {
                    register
                        .faults
                        .push(section.fault(place, format!("gap `{}` stands here twice", gap.id)));
                }
                Ok(gap) => register.gaps.push(gap),
                Err(messages) => register.faults.extend(
                    messages
                        .into_iter()
                        .map(|message| section.fault(place, message)),
                ),
            }
        }
        register
    }

    /// Takes over the rows of `other`; one with the same id replaces ours.
    pub fn add(&mut self, other: Self) {
        self.gaps
            .retain(|gap| other.gaps.iter().all(|newer| newer.id != gap.id));
        self.gaps.extend(other.gaps);
        self.faults.extend(other.faults);
    }

    /// The faults of the rows, and one per offered capability that has no row.
    pub fn check(&self, offered: &[Offered]) -> Vec<Fault> {
        let has_row = |capability: &String| {
            self.gaps
                .iter()
                .any(|gap| gap.capabilities.contains(capability))
        };
        let without_row = offered
            .iter()
            .filter(|offer| !has_row(&offer.capability))
            .map(|offer| Fault {
                place: format!("plugin {}", offer.plugin),
                line: None,
                message: format!("offers `{}`, which has no row", offer.capability),
            });
        self.faults.iter().cloned().chain(without_row).collect()
    }
}

struct Section<'a> {
    line: usize,
    heading: &'a str,
    fields: BTreeMap<&'a str, String>,
    odd_lines: Vec<String>,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut current_field = None;
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        if let Some(heading) = line.strip_prefix("## ").filter(|_| !in_code) {
            sections.push(Section {
                line: index + 1,
                heading,
                fields: BTreeMap::new(),
                odd_lines: Vec::new(),
            });
            current_field = None;
            continue;
        }
        // What stands before the first heading is an introduction.
        let Some(section) = sections.last_mut() else {
            continue;
        };
        if let Some((name, value)) = field(line) {
            if section.fields.insert(name, value.to_owned()).is_some() {
                section
                    .odd_lines
                    .push(format!("field `{name}` stands here twice"));
            }
            current_field = Some(name);
        } else if line.trim().is_empty() {
            current_field = None;
        } else if let Some(value) = current_field.and_then(|name| section.fields.get_mut(name)) {
            value.extend([" ", line.trim()]);
        }
    }
    sections
}

/// `- **Name:** value`
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("- **")?.split_once(":**")?;
    Some((name, value.trim()))
}

impl Section<'_> {
    fn fault(&self, place: &str, message: String) -> Fault {
        Fault {
            place: place.to_owned(),
            line: Some(self.line),
            message,
        }
    }

    fn gap(&self) -> Result<Gap, Vec<String>> {
        let mut faults = self.odd_lines.clone();
        let (id, title) = self.heading.split_once(':').unwrap_or((self.heading, ""));
        let (id, title) = (id.trim(), title.trim());
        if id.is_empty()
            || title.is_empty()
            || !id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            faults.push(format!(
                "heading `{}` is not `id: title` with an id of lower-case letters, digits and `-`",
                self.heading
            ));
        }
        let unknown = self.fields.keys().filter(|name| !FIELDS.contains(name));
        faults.extend(unknown.map(|name| format!("gap `{id}` has an unknown field `{name}`")));
        let is_closed = self.text("Status") == "closed";
        let wanted = FIELDS.iter().filter(|name| !(is_closed && **name == WHY));
        let lacking = wanted.filter(|name| self.text(name).is_empty());
        faults.extend(lacking.map(|name| format!("gap `{id}` lacks the field `{name}`")));
        let status = match self.text("Status") {
            "closed" => Status::Closed,
            "open" => Status::Open,
            other => {
                if !other.is_empty() {
                    faults.push(format!(
                        "gap `{id}` has the status `{other}`, not `open` or `closed`"
                    ));
                }
                Status::Open
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let text = |name| self.text(name).to_owned();
        Ok(Gap {
            id: id.to_owned(),
            title: title.to_owned(),
            status,
            capabilities: capabilities(self.text("Capabilities")),
            what: text("What"),
            who: text("Who"),
            why: text(WHY),
            plan: text("Plan"),
            acceptance: text("Acceptance"),
        })
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Names in backticks; `none` when the gap is about no capability.
fn capabilities(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "# Gaps\n\nIntroduction.\n\n## mail: Sending mail\n\n- **Status:** open\n- **Capabilities:** `mail.send/1`\n\
        - **What:** A plugin\n  that sends.\n- **Who:** auth.\n- **Why:** it speaks HTTP.\n- **Plan:** lettre.\n- **Acceptance:** read back.\n";

    #[test]
    fn a_row_has_its_fields_also_over_several_lines() {
        let register = Register::parse("gaps.md", ROW);
        assert_eq!(register.faults, []);
        let gap = &register.gaps[0];
        assert_eq!(
            (gap.id.as_str(), gap.title.as_str(), gap.what.as_str()),
            ("mail", "Sending mail", "A plugin that sends.")
        );
        assert_eq!(
            (gap.status, gap.capabilities.as_slice()),
            (Status::Open, ["mail.send/1".to_owned()].as_slice())
        );
    }

    #[track_caller]
    fn check_fault(text: &str, expected: &[&str]) {
        let register = Register::parse("gaps.md", text);
        assert_eq!(
            register
                .faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn what_a_row_lacks_is_named_with_its_line() {
        check_fault(
            &ROW.replace("- **Who:** auth.\n", ""),
            &["gaps.md:5: gap `mail` lacks the field `Who`"],
        );
        let whyless = ROW.replace("- **Why:** it speaks HTTP.\n", "");
        check_fault(&whyless, &["gaps.md:5: gap `mail` lacks the field `Why`"]);
        check_fault(&whyless.replace("** open", "** closed"), &[]);
        check_fault(
            &ROW.replace("lettre.", ""),
            &["gaps.md:5: gap `mail` lacks the field `Plan`"],
        );
        check_fault(
            &ROW.replace("Status:** open", "Status:** soon"),
            &["gaps.md:5: gap `mail` has the status `soon`, not `open` or `closed`"],
        );
        check_fault(
            &ROW.replace("**Why:**", "**Wherefore:**"),
            &[
                "gaps.md:5: gap `mail` has an unknown field `Wherefore`",
                "gaps.md:5: gap `mail` lacks the field `Why`",
            ],
        );
        check_fault(
            &format!("{ROW}\n{ROW}"),
            &["gaps.md:20: gap `mail` stands here twice"],
        );
    }

    #[test]
    fn an_offered_capability_needs_a_row() {
        let register = Register::parse("gaps.md", ROW);
        let offer = |capability: &str| Offered {
            plugin: "post".to_owned(),
            capability: capability.to_owned(),
        };
        let faults = register.check(&[offer("mail.send/1"), offer("mail.read/1")]);
        assert_eq!(
            faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["plugin post: offers `mail.read/1`, which has no row"]
        );
    }

    #[test]
    fn the_built_in_register_is_complete() {
        assert_eq!(
            Register::parse("plugin-gaps.md", super::super::BUILT_IN).faults,
            []
        );
    }
}
