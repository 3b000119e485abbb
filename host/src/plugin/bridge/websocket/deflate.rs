//! What host and client agree on about compression (RFC 7692, section 7.1): each message by itself in both directions, or nothing.

use http::{HeaderMap, HeaderValue, header};

use crate::hub::Window;

const NAME: &str = "permessage-deflate";

/// What both keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    /// How far back the client remembers what it was sent.
    pub(super) window: Window,
    /// The client wants to be told what its window is.
    is_told: bool,
}

impl Agreed {
    /// As the client is answered.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match (self.is_told, self.window) {
            (false, _) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            (true, Window::Full) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
            }
            (true, Window::Small) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
            }
        })
    }
}

/// The first of a client's offers that can be kept to.
pub(super) fn agree(headers: &HeaderMap) -> Option<Agreed> {
    let values = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).find_map(accept)
}

/// An offer, if it can be kept to. What is not known, or says something twice, is declined.
fn accept(offer: &str) -> Option<Agreed> {
    let mut words = offer.split(';').map(str::trim);
    if !words.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut agreed = Agreed {
        window: Window::Full,
        is_told: false,
    };
    let mut seen = Vec::new();
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (word, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            // The first two are so anyway, and how little the client wants to remember of its own does not matter.
            (
                "server_no_context_takeover"
                | "client_no_context_takeover"
                | "client_max_window_bits",
                None,
            ) => {}
            ("client_max_window_bits", Some(value)) => _ = bits(value)?,
            ("server_max_window_bits", Some(value)) => {
                let bits = bits(value)?;
                let windows = [Window::Full, Window::Small];
                agreed.window = windows.into_iter().find(|one| one.bits() <= bits)?;
                agreed.is_told = true;
            }
            _ => return None,
        }
    }
    Some(agreed)
}

fn unquoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value)
}

/// A window's size, without signs and zeros before it.
fn bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    ((8..=15).contains(&bits) && value == bits.to_string()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(offers: &[&str], expected: Option<(Window, bool)>) {
        let mut headers = HeaderMap::new();
        for offer in offers {
            let value = HeaderValue::from_str(offer).expect("a header");
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        let agreed = agree(&headers).map(|agreed| (agreed.window, agreed.is_told));
        assert_eq!(agreed, expected, "{offers:?}");
    }

    const FULL: Option<(Window, bool)> = Some((Window::Full, false));

    #[test]
    fn what_browsers_offer_is_taken() {
        check(&["permessage-deflate; client_max_window_bits"], FULL);
        check(&["permessage-deflate"], FULL);
        check(&["x-webkit-deflate-frame, Permessage-Deflate"], FULL);
        let second = "permessage-deflate;server_no_context_takeover";
        check(&["unknown", second], FULL);
        check(&[], None);
        check(&["permessage-bzip2"], None);
    }

    #[test]
    fn a_client_s_window_is_never_exceeded() {
        let window = |bits: &str| format!("permessage-deflate; server_max_window_bits={bits}");
        check(&[&window("15")], Some((Window::Full, true)));
        for bits in ["14", "9", "\"10\""] {
            check(&[&window(bits)], Some((Window::Small, true)));
        }
        check(&[&window("8")], None);
        check(&[&format!("{}, permessage-deflate", window("8"))], FULL);
    }

    #[test]
    fn what_is_malformed_or_not_known_is_declined() {
        for words in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "client_max_window_bits=x",
            "client_max_window_bits=",
            "server_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "mystery",
            "",
        ] {
            check(&[&format!("permessage-deflate; {words}")], None);
        }
    }

    #[test]
    fn the_answer_says_what_holds() {
        let agreed = accept("permessage-deflate; server_max_window_bits=12").expect("agreed");
        let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9";
        assert_eq!(agreed.header(), expected);
    }
}
