//! A fuzz target: the header.

use super::header::{BYTES_MAX, Extent, Header, extent};

/// A header is as long whatever follows it, and each part of it is only its beginning.
pub(crate) fn proxy_protocol(data: &[u8]) {
    let length = match extent(data) {
        Ok(Extent::Bytes(length)) => length,
        Ok(Extent::More) => data.len() + 1,
        Err(malformed) => {
            let more = [data, b"more"].concat();
            assert_eq!(extent(&more), Err(malformed));
            return;
        }
    };
    assert!(length <= BYTES_MAX);
    for cut in 0..length.min(data.len()) {
        assert_eq!(extent(&data[..cut]), Ok(Extent::More));
    }
    let Some(whole) = data.get(..length) else {
        return;
    };
    assert_eq!(extent(whole), Ok(Extent::Bytes(length)));
    if let Ok(Header {
        source: Some(source),
        ..
    }) = Header::parse(whole)
    {
        assert_eq!(source.ip(), source.ip().to_canonical());
    }
}
