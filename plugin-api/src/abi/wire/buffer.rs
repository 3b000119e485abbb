//! Values as bytes: little endian, lengths before what has one.

use std::sync::Arc;

use super::{Link, Object, RemoteObject, Wire};
use crate::abi::{bytes::Bytes, error::Error};

/// What came is not what was to come: the two sides are not of one kind, or one of them lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbled;

impl From<Garbled> for Error {
    fn from(_: Garbled) -> Self {
        Self {
            status: 502,
            code: Bytes::from_static(b"PLUGIN_GARBLED"),
            message: Bytes::from_static(b"the plugin's answer does not read"),
            ..Self::default()
        }
    }
}

/// Values on their way, and the numbers of the objects among them.
#[derive(Debug, Default)]
pub struct Parcel {
    /// The values.
    pub bytes: Vec<u8>,
    /// Objects that the sender keeps for them.
    pub objects: Vec<u64>,
}

/// Writes values.
pub struct Writer {
    link: Arc<dyn Link>,
    parcel: Parcel,
}

impl Writer {
    /// For the other end of `link`.
    pub fn new(link: &Arc<dyn Link>) -> Self {
        Self {
            link: Arc::clone(link),
            parcel: Parcel::default(),
        }
    }

    /// A value more.
    #[must_use]
    pub fn with(self, value: impl Wire) -> Self {
        value.send(self)
    }

    /// Bytes as they are.
    #[must_use]
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.parcel.bytes.extend_from_slice(bytes);
        self
    }

    /// Bytes with their length; what is longer than a message may be ends the link when it arrives.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.raw(&length.to_le_bytes()).raw(bytes)
    }

    /// Bytes, or nothing.
    #[must_use]
    pub fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => self.raw(&[0]),
            Some(bytes) => self.raw(&[1]).bytes(bytes),
        }
    }

    /// An object, which is kept for the other side.
    #[must_use]
    pub fn object(mut self, object: Box<dyn Object>) -> Self {
        let number = self.link.keep(object);
        self.parcel.objects.push(number);
        self.raw(&number.to_le_bytes())
    }

    /// All of it.
    pub fn seal(self) -> Parcel {
        self.parcel
    }
}

/// Reads values. Objects that nobody reads are given up.
pub struct Reader {
    link: Arc<dyn Link>,
    bytes: ::bytes::Bytes,
    /// Not read yet.
    objects: Vec<u64>,
}

impl Reader {
    /// What came over `link`.
    pub fn new(link: Arc<dyn Link>, bytes: ::bytes::Bytes, objects: Vec<u64>) -> Self {
        Self {
            link,
            bytes,
            objects,
        }
    }

    /// Where it came from.
    pub fn link(&self) -> &Arc<dyn Link> {
        &self.link
    }

    /// The only value, and nothing behind it.
    ///
    /// # Errors
    ///
    /// [`Garbled`], as it crosses.
    pub fn whole<T: Wire>(mut self) -> Result<T, Error> {
        let value = T::receive(&mut self)?;
        self.end()?;
        Ok(value)
    }

    /// That there is nothing more.
    ///
    /// # Errors
    ///
    /// [`Garbled`] when there is.
    pub fn end(&self) -> Result<(), Garbled> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Garbled)
        }
    }

    pub(super) fn raw<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let raw = *self.bytes.first_chunk().ok_or(Garbled)?;
        drop(self.bytes.split_to(N));
        Ok(raw)
    }

    /// Bytes with their length.
    ///
    /// # Errors
    ///
    /// [`Garbled`].
    pub fn bytes(&mut self) -> Result<::bytes::Bytes, Garbled> {
        let length = u32::from_le_bytes(self.raw()?);
        let length = usize::try_from(length).map_err(|_| Garbled)?;
        if length > self.bytes.len() {
            return Err(Garbled);
        }
        Ok(self.bytes.split_to(length))
    }

    /// Bytes, or nothing.
    ///
    /// # Errors
    ///
    /// [`Garbled`].
    pub fn optional(&mut self) -> Result<Option<::bytes::Bytes>, Garbled> {
        match self.raw()? {
            [0] => Ok(None),
            [1] => self.bytes().map(Some),
            _ => Err(Garbled),
        }
    }

    /// Text with its length.
    ///
    /// # Errors
    ///
    /// [`Garbled`], also when it is not UTF-8.
    pub fn text(&mut self) -> Result<String, Garbled> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Garbled)
    }

    /// How many of something follow, each of which takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, Garbled> {
        let count = usize::try_from(u32::from_le_bytes(self.raw()?)).map_err(|_| Garbled)?;
        if count > self.bytes.len() {
            return Err(Garbled);
        }
        Ok(count)
    }

    /// An object of the other side.
    ///
    /// # Errors
    ///
    /// [`Garbled`].
    pub fn object(&mut self) -> Result<RemoteObject, Garbled> {
        let number = u64::from_le_bytes(self.raw()?);
        let at = self.objects.iter().position(|one| *one == number);
        self.objects.swap_remove(at.ok_or(Garbled)?);
        Ok(RemoteObject::new(Arc::clone(&self.link), number))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for number in self.objects.drain(..) {
            self.link.release(number);
        }
    }
}
