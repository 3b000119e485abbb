//! A fuzz target: what a client sends over a WebSocket, plain and compressed.

use bytes::{Buf as _, Bytes};

use super::{
    decoder::{Decoder, MESSAGE_BYTES_MAX, Said},
    inflate::Inflater,
};

/// What lies ready of what was inflated, at most.
const READY_BYTES_MAX: usize = 9 * 1024;

/// What a client said, and whether it kept to the rules.
type Heard = (Vec<Said>, Result<(), ()>);

/// The first byte says how many bytes come at a time: what was said is the same as if all of it had come at once.
pub(crate) fn websocket(data: &[u8]) {
    let Some((step, sent)) = data.split_first() else {
        return;
    };
    let step = usize::from(*step).max(1);
    let at_once = sent.len().max(1);
    assert_eq!(plain(sent, step), plain(sent, at_once));
    let (pieces, is_good) = compressed(sent, step);
    let (whole, is_good_at_once) = compressed(sent, at_once);
    assert_eq!(is_good, is_good_at_once);
    // Who breaks the rules of compression is not heard any more, with what lay ready.
    let heard = pieces.len().min(whole.len());
    assert_eq!(pieces[..heard], whole[..heard]);
    assert!(is_good.is_err() || pieces.len() == whole.len());
    assert!(pieces.iter().all(is_short));
}

fn is_short(said: &Said) -> bool {
    match said {
        Said::Text(bytes) | Said::Binary(bytes) => bytes.len() <= MESSAGE_BYTES_MAX,
        Said::Ping(_) | Said::Pong | Said::Close(_) => true,
    }
}

fn plain(sent: &[u8], step: usize) -> Heard {
    let (mut said, mut decoder) = (Vec::new(), Decoder::default());
    for mut part in sent.chunks(step) {
        while !part.is_empty() {
            match decoder.read(&mut part) {
                Ok(one) => said.extend(one),
                Err(_) => return (said, Err(())),
            }
        }
    }
    (said, Ok(()))
}

fn compressed(sent: &[u8], step: usize) -> Heard {
    let mut said = Vec::new();
    let (mut decoder, mut inflater) = (Decoder::default(), Inflater::default());
    for part in sent.chunks(step) {
        let mut part = Bytes::copy_from_slice(part);
        loop {
            let Ok(ready) = inflater.ready(&mut part) else {
                return (said, Err(()));
            };
            if ready.is_empty() {
                break;
            }
            assert!(ready.len() <= READY_BYTES_MAX);
            let mut bytes = &ready[..];
            let Ok(one) = decoder.read(&mut bytes) else {
                return (said, Err(()));
            };
            let taken = ready.len() - bytes.len();
            ready.advance(taken);
            said.extend(one);
        }
    }
    (said, Ok(()))
}
