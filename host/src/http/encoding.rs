//! Which answers are worth compressing.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body::Body;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

/// Below this a packet is a packet.
const BYTES_MIN: u64 = 1_024;

/// Text of a known size. Streams are left alone: a compressor holds pieces back that somebody waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text;

impl Predicate for Text {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        response
            .body()
            .size_hint()
            .exact()
            .is_some_and(|size| size >= BYTES_MIN)
            && response.headers().get(CONTENT_TYPE).is_some_and(is_text)
    }
}

fn is_text(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let text = kind
        .strip_prefix("text/")
        .is_some_and(|sub| sub != "event-stream");
    text || ["json", "javascript", "xml", "yaml", "svg+xml"]
        .iter()
        .any(|end| {
            kind.strip_suffix(end)
                .is_some_and(|rest| rest.ends_with(['/', '+']))
        })
}

/// gzip and zstd, as the caller likes, outside of everything else.
pub(super) fn layer() -> CompressionLayer<Text> {
    CompressionLayer::new().compress_when(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compressed_and_what_is_already_small_or_flows_is_not() {
        for text in [
            "text/html",
            "text/css; charset=utf-8",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
        ] {
            assert!(is_text(&HeaderValue::from_static(text)), "{text}");
        }
        for other in [
            "text/event-stream",
            "image/png",
            "application/zip",
            "application/octet-stream",
            "json",
            "",
        ] {
            assert!(!is_text(&HeaderValue::from_static(other)), "{other}");
        }
    }
}
