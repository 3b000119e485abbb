//! What may break a rule, and why.

use super::{Complaint, Rule};

/// A file, or a folder, that may break one rule.
pub(super) struct Exemption {
    pub(super) rule: Rule,
    /// Prefix of the path: a file, or a folder with its `/`.
    pub(super) path: &'static str,
    pub(super) reason: &'static str,
}

/// All of them.
pub(super) const EXEMPTIONS: &[Exemption] = &[
    Exemption {
        rule: Rule::Unsafe,
        path: "plugin-api/src/export.rs",
        reason: "the export macro writes the entry and its guard into the plugin; it is the boundary's other half",
    },
    Exemption {
        rule: Rule::PluginName,
        path: "host/src/config/model.rs",
        reason: "the seed's ports are defaults of the configuration: whoever knows the seed finds each plugin where it was",
    },
    Exemption {
        rule: Rule::PluginName,
        path: "host/src/cli/plugin/new/",
        reason: "`plugin new` copies the files of the template plugin and puts another name in",
    },
    Exemption {
        rule: Rule::Environment,
        path: "host/src/postgres/",
        reason: "where Postgres programs and sockets are is told by PATH, LD_LIBRARY_PATH and XDG_RUNTIME_DIR, not by settings",
    },
    Exemption {
        rule: Rule::Environment,
        path: "host/src/capability/dump/programs.rs",
        reason: "pg_dump is looked for as the programs of Postgres are, and runs in an environment that is made for it",
    },
    Exemption {
        rule: Rule::Environment,
        path: "host/src/capability/process/container.rs",
        reason: "docker and podman are told by the environment where their configuration and their daemon are",
    },
    Exemption {
        rule: Rule::Sleep,
        path: "host/src/capability/clock.rs",
        reason: "sleeping is what the clock offers, and what is tested there",
    },
    Exemption {
        rule: Rule::Layers,
        path: "fuzz/Cargo.toml",
        reason: "each of its programs feeds one crate, which none of them can be a part of: libFuzzer brings its own main",
    },
];

/// What remains after the exemptions; one that is not needed becomes a complaint.
pub(super) fn apply(complaints: Vec<Complaint>, exemptions: &[Exemption]) -> Vec<Complaint> {
    let covers = |exemption: &Exemption, complaint: &Complaint| {
        exemption.rule == complaint.rule && complaint.path.starts_with(exemption.path)
    };
    let stale = exemptions
        .iter()
        .filter(|exemption| {
            !complaints
                .iter()
                .any(|complaint| covers(exemption, complaint))
        })
        .map(|exemption| Complaint {
            rule: Rule::Exemptions,
            path: "xtask/src/tidy/exempt.rs".to_owned(),
            line: 0,
            text: format!(
                "nothing in {} breaks {:?} any more ({}): remove the exemption",
                exemption.path, exemption.rule, exemption.reason
            ),
        })
        .collect::<Vec<_>>();
    complaints
        .into_iter()
        .filter(|complaint| {
            !exemptions
                .iter()
                .any(|exemption| covers(exemption, complaint))
        })
        .chain(stale)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(path: &str) -> Complaint {
        Complaint {
            rule: Rule::Unsafe,
            path: path.to_owned(),
            line: 1,
            text: String::new(),
        }
    }

    const ALLOWED: &[Exemption] = &[Exemption {
        rule: Rule::Unsafe,
        path: "a/",
        reason: "because",
    }];

    #[test]
    fn an_exemption_covers_its_folder_and_rule_only() {
        let rest = apply(vec![complaint("a/b.rs"), complaint("c.rs")], ALLOWED);
        assert_eq!(rest, [complaint("c.rs")]);
    }

    #[test]
    fn an_exemption_that_nothing_needs_is_a_complaint() {
        let rest = apply(vec![complaint("c.rs")], ALLOWED);
        assert_eq!(rest.len(), 2);
        assert_eq!(rest[1].rule, Rule::Exemptions);
    }
}
