//! Which version of a plugin this host gets.

use semver::{Op, Version, VersionReq};

use super::{Index, PluginEntry, Release};
use crate::loader::{HostAbi, one_line};

/// What somebody asks for: `hello`, `hello@1.2.3`, `hello@1.2`, `hello@^1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The plugin's id.
    pub id: String,
    /// Which versions will do; all of them when it is absent.
    pub versions: Option<VersionReq>,
    /// The one version that is named whole: withdrawn and preliminary ones are had this way only.
    exact: Option<Version>,
}

/// Why there is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// What follows `@` is no version.
    #[error("{0} is no version and no range of versions")]
    Version(String),
    /// No such plugin.
    #[error("the catalogue has no plugin {0}")]
    Unknown(String),
    /// Versions, but none that was asked for.
    #[error("the catalogue has no such version of {id}, only {versions}")]
    NoVersion {
        /// The plugin.
        id: String,
        /// What there is.
        versions: String,
    },
    /// Versions that were asked for, but none runs here.
    #[error("no such version of {id} runs on this host: {reason}")]
    Incompatible {
        /// The plugin.
        id: String,
        /// Why the newest does not.
        reason: String,
    },
}

impl Wanted {
    /// Reads `ID` or `ID@VERSION`.
    ///
    /// # Errors
    ///
    /// [`ChooseError::Version`].
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        let (id, versions) = text
            .split_once('@')
            .map_or((text, None), |(id, v)| (id, Some(v)));
        let exact = versions.and_then(|text| text.parse::<Version>().ok());
        let versions = match (&exact, versions) {
            // A whole version means itself and no later one.
            (Some(exact), _) => Some(VersionReq {
                comparators: vec![semver::Comparator {
                    op: Op::Exact,
                    major: exact.major,
                    minor: Some(exact.minor),
                    patch: Some(exact.patch),
                    pre: exact.pre.clone(),
                }],
            }),
            (None, Some(text)) => Some(
                text.parse()
                    .map_err(|_| ChooseError::Version(one_line(text)))?,
            ),
            (None, None) => None,
        };
        Ok(Self {
            id: id.to_owned(),
            versions,
            exact,
        })
    }

    fn takes(&self, release: &Release) -> bool {
        match (&self.exact, &self.versions) {
            (Some(exact), _) => release.version == *exact,
            (None, Some(range)) => range.matches(&release.version) && !release.yanked,
            (None, None) => release.version.pre.is_empty() && !release.yanked,
        }
    }
}

/// The newest version of what is wanted that runs on a host of this boundary and kind of machine.
///
/// # Errors
///
/// [`ChooseError`] says what there is instead.
pub fn choose<'a>(
    index: &'a Index,
    wanted: &Wanted,
    abi: HostAbi,
    target: &str,
) -> Result<(&'a PluginEntry, &'a Release), ChooseError> {
    let id = &wanted.id;
    let entry = index
        .plugins
        .get(id)
        .ok_or_else(|| ChooseError::Unknown(one_line(id)))?;
    let mut releases: Vec<&Release> = entry.versions.iter().filter(|r| wanted.takes(r)).collect();
    releases.sort_by(|one, other| other.version.cmp(&one.version));
    let Some(newest) = releases.first() else {
        let mut all: Vec<&Version> = entry
            .versions
            .iter()
            .map(|release| &release.version)
            .collect();
        all.sort();
        let names: Vec<String> = all.iter().rev().take(10).map(ToString::to_string).collect();
        return Err(ChooseError::NoVersion {
            id: id.clone(),
            versions: if names.is_empty() {
                "none at all".to_owned()
            } else {
                names.join(", ")
            },
        });
    };
    let runs = |release: &&&Release| why_not(release, abi, target).is_none();
    match releases.iter().find(runs) {
        Some(release) => Ok((entry, release)),
        None => Err(ChooseError::Incompatible {
            id: id.clone(),
            reason: why_not(newest, abi, target).unwrap_or_default(),
        }),
    }
}

/// Why a version does not run on such a host, if it does not.
fn why_not(release: &Release, abi: HostAbi, target: &str) -> Option<String> {
    let version = &release.version;
    if release.abi.major != abi.major || release.abi.needs > abi.minor {
        return Some(format!(
            "{version} needs plugin ABI {}.{}, this host speaks {}.{}",
            release.abi.major, release.abi.needs, abi.major, abi.minor
        ));
    }
    if !release.targets.iter().any(|one| one == target) {
        let targets = one_line(&release.targets.join(", "));
        return Some(format!(
            "{version} is for {targets}, this machine is {target}"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index() -> Index {
        let release = |version: &str, needs: u32, target: &str, yanked: bool| {
            json!({
                "version": version, "url": "x", "sha256": "0".repeat(64), "bytes": 1,
                "abi": {"major": 1, "needs": needs}, "targets": [target], "yanked": yanked,
            })
        };
        let versions = json!([
            release("1.0.0", 0, "here", false),
            release("1.2.0", 1, "here", false),
            release("1.10.0", 2, "here", false),
            release("1.11.0", 0, "here", true),
            release("1.12.0", 0, "there", false),
            release("2.0.0", 9, "here", false),
            release("3.0.0-rc.1", 0, "here", false),
        ]);
        let text = json!({"schema": 1, "serial": 1, "plugins": {"hello": {"versions": versions}}});
        Index::read(text.to_string().as_bytes(), jiff::Timestamp::now()).expect("an index")
    }

    #[track_caller]
    fn check(wanted: &str, minor: u32, expected: &str) {
        let index = index();
        let chosen = Wanted::parse(wanted).and_then(|wanted| {
            let (_, release) = choose(&index, &wanted, HostAbi { major: 1, minor }, "here")?;
            Ok(release.version.to_string())
        });
        assert_eq!(
            chosen.unwrap_or_else(|error| error.to_string()),
            expected,
            "{wanted}"
        );
    }

    #[test]
    fn the_newest_version_that_runs_here_is_chosen() {
        check("hello", 2, "1.10.0");
        check("hello", 1, "1.2.0");
        check("hello", 9, "2.0.0");
        check("hello@1", 9, "1.10.0");
        check("hello@~1.2", 9, "1.2.0");
        check("hello@1.0.0", 9, "1.0.0");
        check("hello@1.11.0", 9, "1.11.0");
        check("hello@3.0.0-rc.1", 9, "3.0.0-rc.1");
    }

    #[test]
    fn what_cannot_be_had_is_told_with_what_can() {
        check("nothing", 2, "the catalogue has no plugin nothing");
        check(
            "hello@newest",
            2,
            "newest is no version and no range of versions",
        );
        let there = "3.0.0-rc.1, 2.0.0, 1.12.0, 1.11.0, 1.10.0, 1.2.0, 1.0.0";
        check(
            "hello@5",
            2,
            &format!("the catalogue has no such version of hello, only {there}"),
        );
        check(
            "hello@2",
            2,
            "no such version of hello runs on this host: 2.0.0 needs plugin ABI 1.9, this host speaks 1.2",
        );
        check(
            "hello@1.12.0",
            2,
            "no such version of hello runs on this host: 1.12.0 is for there, this machine is here",
        );
    }
}
