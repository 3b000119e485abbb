//! The boundary between processes: the same interfaces, called over a [`Link`].
//!
//! `interface!` makes, beside a table, an [`Object`] of each handle, which answers calls that come as bytes, and a provider over
//! [`Remote`], which sends them. So whatever can be asked of a plugin in this process can be asked of one in another, and a
//! plugin asks its host in the same way: a handle that crosses becomes a number there, and every call on it a message.
//! Nothing here is unsafe: both ends use the safe handles and provider traits that they use within one process. Both ends are
//! the same build of the host, and the plugin's file meets only tables: the form of messages may change with each release.
//!
//! - An `async fn` is a call that is answered later; dropping its future cancels it.
//! - A `sync fn` with a result waits for the answer on its thread; one without is a message that nobody answers.
//! - Bytes are copied; streams are asked for chunk by chunk, futures run where they were made.

mod buffer;
mod request;
#[cfg(test)]
mod tests;
mod values;
mod work;

use std::{marker::PhantomData, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};

pub use self::{
    buffer::{Garbled, Parcel, Reader, Writer},
    values::{Answer, Argument, Wire},
};
use super::error::Error;

/// The way to the other process.
pub trait Link: Send + Sync + 'static {
    /// Keeps an object for the other side, until that gives it up or is gone; its number.
    fn keep(&self, object: Box<dyn Object>) -> u64;
    /// Calls an object of the other side. Dropping the future cancels the call.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Reader, Error>>;
    /// Calls an object of the other side, and waits for the answer on this thread.
    ///
    /// # Errors
    ///
    /// When the other side is gone, or fails.
    fn ask(&self, call: Call) -> Result<Reader, Error>;
    /// Calls an object of the other side, which does not answer.
    fn tell(&self, call: Call);
    /// Gives an object of the other side up.
    fn release(&self, object: u64);
}

/// A call of an object of the other side.
pub struct Call {
    /// Its number there.
    pub object: u64,
    /// The place of the function in its interface.
    pub method: u16,
    /// What it is called with.
    pub arguments: Parcel,
}

/// Something that the other side can call.
pub trait Object: Send + Sync {
    /// Begins a call.
    ///
    /// # Errors
    ///
    /// [`Garbled`] when there is no such function, or the arguments are not its.
    fn serve(&self, method: u16, arguments: &mut Reader) -> Result<Reply, Garbled>;
}

/// What a call comes to.
pub enum Reply {
    /// Nobody waits for an answer.
    Nothing,
    /// The answer.
    Now(Parcel),
    /// The answer, once there is one.
    Later(BoxFuture<'static, Result<Parcel, Error>>),
}

impl Reply {
    /// A value.
    pub fn now<T: Wire>(link: &Arc<dyn Link>, value: T) -> Self {
        Self::Now(value.send(Writer::new(link)).seal())
    }

    /// What `future` resolves with.
    pub fn later<T: Wire>(
        link: &Arc<dyn Link>,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        let link = Arc::clone(link);
        let sent = async move { Ok(future.await?.send(Writer::new(&link)).seal()) };
        Self::Later(sent.boxed())
    }
}

/// An object of the other side, which is given up when this is dropped.
pub struct RemoteObject {
    link: Arc<dyn Link>,
    number: u64,
}

impl RemoteObject {
    /// The object of that number at the other end of `link`.
    pub fn new(link: Arc<dyn Link>, number: u64) -> Self {
        Self { link, number }
    }

    /// For the arguments of a call.
    pub fn arguments(&self) -> Writer {
        Writer::new(&self.link)
    }

    fn to_call(&self, method: u16, arguments: Writer) -> Call {
        Call {
            object: self.number,
            method,
            arguments: arguments.seal(),
        }
    }

    /// Calls it; the message leaves at once.
    pub fn call<T: Wire>(
        &self,
        method: u16,
        arguments: Writer,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T> {
        let answer = self.link.call(self.to_call(method, arguments));
        async move { answer.await?.whole() }
    }

    /// Calls it, and waits on this thread.
    ///
    /// # Errors
    ///
    /// When the other side is gone, fails, or says something else.
    pub fn ask<T: Wire>(&self, method: u16, arguments: Writer) -> Result<T, Error> {
        self.link.ask(self.to_call(method, arguments))?.whole()
    }

    /// Calls it; nobody answers.
    pub fn tell(&self, method: u16, arguments: Writer) {
        self.link.tell(self.to_call(method, arguments));
    }
}

impl Drop for RemoteObject {
    fn drop(&mut self) {
        self.link.release(self.number);
    }
}

/// An object of the other side as what it is: provides the interface whose handle is `T`.
pub struct Remote<T> {
    object: RemoteObject,
    marker: PhantomData<fn() -> T>,
}

impl<T> Remote<T> {
    /// The interface behind that object.
    pub fn new(object: RemoteObject) -> Self {
        Self {
            object,
            marker: PhantomData,
        }
    }

    pub(crate) fn object(&self) -> &RemoteObject {
        &self.object
    }
}
