//! The request's address before anything reads it: what no route may ever see is refused here.

use std::borrow::Cow;

use http::Version;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::Problem;

/// Longest path and query together, in bytes.
const ADDRESS_BYTES_MAX: usize = 8 * 1024;

/// Refuses addresses that two readers could understand differently: broken percent-encoding, bytes that are no
/// UTF-8, control characters, and `.` or `..` segments in any spelling.
pub(super) fn check(parts: &Parts) -> Result<(), Problem> {
    check_host(parts)?;
    check_coding(parts)?;
    let uri = &parts.uri;
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    if path.len() + query.len() > ADDRESS_BYTES_MAX {
        return Err(Problem::new(
            http::StatusCode::URI_TOO_LONG,
            "ADDRESS_TOO_LONG",
            "the address is too long",
        ));
    }
    let path = clean(path)?;
    clean(query)?;
    // Split at both slashes and after decoding: `..%2f` and `..\` reach a file system as well as `../`.
    if path.contains('.')
        && path
            .split(['/', '\\'])
            .any(|segment| segment == "." || segment == "..")
    {
        return Err(Problem::bad_request(
            "PATH_TRAVERSAL",
            "the path may not hold . or .. segments",
        ));
    }
    Ok(())
}

/// Refuses what HTTP/1.1 does not allow to be answered (RFC 9112, section 3.2): no host, more than one, and one that is none.
fn check_host(parts: &Parts) -> Result<(), Problem> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return if parts.version == Version::HTTP_11 {
            Err(Problem::bad_request(
                "HOST_MISSING",
                "the request does not say which host it is for",
            ))
        } else {
            Ok(())
        };
    };
    if hosts.next().is_some() {
        return Err(Problem::bad_request(
            "HOST_AMBIGUOUS",
            "the request names two hosts",
        ));
    }
    // What a host and a port are written with (RFC 3986, section 3.2.2), and nothing that ends them.
    let is_of_one =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    if host.as_bytes().iter().all(is_of_one) {
        return Ok(());
    }
    Err(Problem::bad_request(
        "HOST_MALFORMED",
        "the request's host is none",
    ))
}

/// Refuses codings of the body but the one that HTTP/1.1 must know, once: whoever stands before this host may undo the others, or
/// not.
fn check_coding(parts: &Parts) -> Result<(), Problem> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let known = codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if known && codings.next().is_none() {
        return Ok(());
    }
    Err(Problem::bad_request(
        "TRANSFER_ENCODING_UNKNOWN",
        "the body is in a coding that this host does not read",
    ))
}

/// The value of one path parameter; [`check`] has seen the path.
pub(super) fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

fn clean(text: &str) -> Result<Cow<'_, str>, Problem> {
    let malformed = || {
        Problem::bad_request(
            "ADDRESS_MALFORMED",
            "the address is not valid percent-encoded UTF-8, or has control characters",
        )
    };
    let bytes = text.as_bytes();
    let mut encoded = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).ok_or_else(malformed)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(malformed());
                }
                encoded = true;
            }
            0..=0x20 | 0x7f.. => return Err(malformed()),
            _ => {}
        }
    }
    if !encoded {
        return Ok(Cow::Borrowed(text));
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| malformed())?;
    // Tab and line breaks may stand in a query's text; the rest of the control characters only ever attack.
    if decoded
        .bytes()
        .any(|byte| byte == 0x7f || (byte < 0x20 && !b"\t\r\n".contains(&byte)))
    {
        return Err(malformed());
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use http::{Request, Uri};

    use super::*;

    #[track_caller]
    fn check_address(address: &str, expected: Option<&str>) {
        let uri = address
            .parse::<Uri>()
            .expect("an address that the parser lets through");
        let parts = Request::get(uri)
            .header(HOST, "x")
            .body(())
            .expect("a request")
            .into_parts()
            .0;
        assert_eq!(
            check(&parts).err().map(|problem| problem.code),
            expected,
            "{address}"
        );
    }

    #[test]
    fn ordinary_addresses_pass() {
        for address in [
            "/",
            "/notes/7",
            "/a%20b/%C3%A4?x=%0A",
            "/v1.2/.well-known/jwks.json",
            "/a..b",
            "/notes?q=../x",
        ] {
            check_address(address, None);
        }
    }

    #[test]
    fn traversal_is_refused_in_every_spelling() {
        for address in [
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/..%5cb",
            "/a/%2e",
        ] {
            check_address(address, Some("PATH_TRAVERSAL"));
        }
    }

    #[test]
    fn broken_encodings_are_refused() {
        for address in [
            "/%",
            "/%2",
            "/%zz",
            "/%ff",
            "/%c3%28",
            "/a%00b",
            "/a?x=%00",
            "/a?x=%e2%82",
            "/a?x=%1b",
        ] {
            check_address(address, Some("ADDRESS_MALFORMED"));
        }
        check_address(&format!("/{}", "a".repeat(9_000)), Some("ADDRESS_TOO_LONG"));
    }
}
