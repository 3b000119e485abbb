//! How much room is left where the host and its database write.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;

/// Bytes that are free for others than root, and where: of the disk of the host's state in `state` and that of the private cluster,
/// the one that has less. None when the system does not tell.
pub(crate) fn least(state: &Path) -> Option<(u64, PathBuf)> {
    // The cluster of a project of root's lies elsewhere, behind a link.
    let places = [existing(state), existing(&state.join("pg"))];
    let free = places.into_iter().filter_map(|place| {
        let stat = statvfs(&place).ok()?;
        Some((stat.f_bavail.saturating_mul(stat.f_frsize), place))
    });
    free.min()
}

/// The nearest directory upwards that exists.
fn existing(path: &Path) -> PathBuf {
    let found = path
        .ancestors()
        .find_map(|path| fs::canonicalize(path).ok());
    found.unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_will_be_where_its_parent_is() {
        assert_eq!(
            existing(Path::new("/proc/nothing/of/that")),
            Path::new("/proc")
        );
    }
}
