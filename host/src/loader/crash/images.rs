//! Which addresses belong to which plugin's file. It is written with a lock and read without one, by a signal handler too.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use semver::Version;

use super::super::{AddressRange, Loaded, Sha256};

/// Longest version that is told.
const VERSION_BYTES_MAX: usize = 64;

/// Every file that was opened, or is about to be: as many as stay mapped. Nothing in here moves or goes.
static IMAGES: boxcar::Vec<Image> = boxcar::Vec::new();

/// Held by who adds one.
static ADDING: Mutex<()> = Mutex::new(());

/// A plugin's file in this process.
pub(super) struct Image {
    /// Lines that say which: made beforehand, for a handler can make nothing.
    identity: Box<str>,
    whole: Place,
    code: Place,
}

#[derive(Default)]
struct Place {
    start: AtomicUsize,
    end: AtomicUsize,
}

impl Place {
    fn set(&self, range: &AddressRange) {
        self.start.store(range.start, Ordering::Relaxed);
        // With the end nothing is in here any more or yet, so that no half of a range is believed.
        self.end.store(range.end, Ordering::Release);
    }

    /// How far behind the start an address lies, if it lies in here.
    fn offset(&self, address: usize) -> Option<usize> {
        let end = self.end.load(Ordering::Acquire);
        let offset = address.checked_sub(self.start.load(Ordering::Relaxed))?;
        (address < end).then_some(offset)
    }
}

impl Image {
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }
}

/// A plugin's file, for notes of who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageNumber(usize);

impl ImageNumber {
    /// No file.
    pub const NONE: Self = Self(usize::MAX);

    /// Makes a file known before it is opened: its constructors can crash as well. The same file has one number, however
    /// often it is opened.
    pub fn announce(id: &str, version: &Version, sha256: &Sha256) -> Self {
        let version: String = version
            .to_string()
            .chars()
            .take(VERSION_BYTES_MAX)
            .collect();
        let identity = format!("plugin {id}\nversion {version}\nsha256 {sha256}\n");
        let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = IMAGES
            .iter()
            .find(|(_, image)| *image.identity == *identity);
        Self(known.map_or_else(
            || {
                IMAGES.push(Image {
                    identity: identity.into(),
                    whole: Place::default(),
                    code: Place::default(),
                })
            },
            |(number, _)| number,
        ))
    }

    /// Says where the file lies.
    pub fn mapped(self, loaded: &Loaded) {
        if let Some(image) = IMAGES.get(self.0) {
            image.whole.set(&loaded.range);
            image.code.set(&loaded.code);
        }
    }

    pub(super) fn image(self) -> Option<&'static Image> {
        IMAGES.get(self.0)
    }
}

fn all() -> impl Iterator<Item = &'static Image> {
    (0..).map_while(|number| IMAGES.get(number))
}

/// Whose an instruction is, and how far it lies behind where its file begins.
pub(super) fn at(address: usize) -> Option<(&'static Image, usize)> {
    all().find_map(|image| Some((image, image.whole.offset(address)?)))
}

/// Whose code an address is.
pub(super) fn code_at(address: usize) -> Option<&'static Image> {
    all().find(|image| image.code.offset(address).is_some())
}
