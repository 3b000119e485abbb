//! Versions of definitions: `latest` is the highest by semantic versioning.

use nself_plugin_api::prelude::{Queries, Result};
use semver::Version;

use crate::store::definitions;

/// The word for the highest version.
pub(crate) const LATEST: &str = "latest";

/// The version that is meant; none when there is no version at all.
pub(crate) async fn resolve(
    db: &impl Queries,
    namespace: &str,
    name: &str,
    version: &str,
) -> Result<Option<String>> {
    if version != LATEST {
        return Ok(Some(version.to_owned()));
    }
    let all = definitions::versions(db, namespace, name).await?;
    Ok(highest(all))
}

/// A release goes before what comes ahead of it; what is no version comes last.
fn highest(versions: Vec<String>) -> Option<String> {
    versions
        .into_iter()
        .max_by_key(|version| Version::parse(version).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_the_latest() {
        for (versions, expected) in [
            (vec!["0.9.0", "0.10.0"], Some("0.10.0")),
            (vec!["1.0.0-rc1", "1.0.0"], Some("1.0.0")),
            (vec![], None),
        ] {
            let versions = versions.into_iter().map(str::to_owned).collect();
            assert_eq!(highest(versions).as_deref(), expected);
        }
    }
}
