//! Fuzz targets: decoders of what the other side of the boundary sent.

#[macro_use]
#[path = "../../fuzz/targets.rs"]
mod targets;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use http::HeaderMap;

use crate::abi::{
    bytes::{Bytes, OptBytes},
    capability::{
        db::{self, Rows},
        hub::Frame,
        kv::Take,
    },
    error::{Error, Outcome},
    request::Request,
    response::{self, Message, Response},
    wire::{Call, Garbled, Link, Object, Reader, Wire, Writer},
};

targets! {
    header_block: headers,
    parameters: params,
    plugin_values: values,
}

/// Entries lie one behind the other and within the block, and the map has each of them.
fn headers(data: &[u8]) {
    let mut at = 0;
    for (name, value) in response::headers(data) {
        at += size_of::<u16>() + size_of::<u32>();
        assert_eq!(&data[at..at + name.len()], name);
        at += name.len();
        assert_eq!(&data[at..at + value.len()], value);
        at += value.len();
    }
    let mut map = HeaderMap::new();
    if response::read_headers(data.to_vec().into(), &mut map).is_ok() {
        assert_eq!(map.len(), response::headers(data).count());
    }
}

/// What is read is, written again, what it was read from.
fn params(data: &[u8]) {
    let mut written = Vec::new();
    for (oid, value) in db::params(data) {
        assert!(db::push_param(&mut written, oid, value));
    }
    // Every negative length is null; -1 is what is written.
    assert!(written.len() <= data.len());
    assert!(db::params(&written).eq(db::params(data)));
}

fn values(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 9 {
        0 => crosses::<Request>(data),
        1 => crosses::<Response>(data),
        2 => crosses::<Rows>(data),
        3 => crosses::<Error>(data),
        4 => crosses::<Message>(data),
        5 => crosses::<Outcome<Bytes>>(data),
        6 => crosses::<OptBytes>(data),
        7 => crosses::<Frame>(data),
        _ => crosses::<Take>(data),
    }
}

/// What reads is written as something that reads as the same.
fn crosses<T: Wire>(data: &[u8]) {
    let link: Arc<dyn Link> = Arc::new(Nobody);
    let read = |bytes: &[u8], objects| {
        let bytes = ::bytes::Bytes::copy_from_slice(bytes);
        T::receive(&mut Reader::new(Arc::clone(&link), bytes, objects))
    };
    let written = |value: T| value.send(Writer::new(&link)).seal();
    let Ok(value) = read(data, vec![OBJECT, OBJECT]) else {
        return;
    };
    let once = written(value);
    let again = read(&once.bytes, once.objects).expect("what was written reads");
    assert_eq!(written(again).bytes, once.bytes);
}

/// The number of every object.
const OBJECT: u64 = 1;

/// A way to another process that does not answer.
struct Nobody;

impl Link for Nobody {
    fn keep(&self, _: Box<dyn Object>) -> u64 {
        OBJECT
    }

    fn call(&self, _: Call) -> BoxFuture<'static, Result<Reader, Error>> {
        async { Err(Garbled.into()) }.boxed()
    }

    fn ask(&self, _: Call) -> Result<Reader, Error> {
        Err(Garbled.into())
    }

    fn tell(&self, _: Call) {}

    fn release(&self, _: u64) {}
}
