//! The header itself: version 1, a line of text, and version 2, which is binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 1 begins with. No method of HTTP is called so, and TLS begins with other bytes.
const LINE: &[u8] = b"PROXY ";
/// What version 2 begins with, made to be nothing else.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// Of version 2: what stands before the addresses.
const FIXED_BYTES: usize = 16;
/// Longest header, bytes. Version 2 could have 64 KB; certificates of callers are the longest that is sent, and nobody here reads them.
pub(super) const BYTES_MAX: usize = 4096;

/// The kind of what version 2 says of the caller's TLS, and the bit for "by TLS" in it.
const TLS: u8 = 0x20;
const BY_TLS: u8 = 0x01;

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It begins otherwise.
    #[error("it is none")]
    Absent,
    /// It has more bytes than it may.
    #[error("it is too long")]
    Long,
    /// A version or command that there is not.
    #[error("its version is not known")]
    Version,
    /// Its addresses are none, or of two families.
    #[error("its addresses are none")]
    Addresses,
}

/// How long a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// It is whole, and has so many bytes.
    Bytes(usize),
    /// What is there is the beginning of one.
    More,
}

/// Whether something begins like a header.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(LINE) || bytes.starts_with(SIGNATURE)
}

/// How long the header is that `bytes` begin with.
pub(super) fn extent(bytes: &[u8]) -> Result<Extent, Malformed> {
    if bytes.starts_with(LINE) {
        return line_extent(bytes);
    }
    if bytes.starts_with(SIGNATURE) {
        return binary_extent(bytes);
    }
    if LINE.starts_with(bytes) || SIGNATURE.starts_with(bytes) {
        return Ok(Extent::More);
    }
    Err(Malformed::Absent)
}

fn line_extent(bytes: &[u8]) -> Result<Extent, Malformed> {
    let longest = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match longest.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Extent::Bytes(end + 2)),
        None if longest.len() == LINE_BYTES_MAX => Err(Malformed::Long),
        None => Ok(Extent::More),
    }
}

fn binary_extent(bytes: &[u8]) -> Result<Extent, Malformed> {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else {
        return Ok(Extent::More);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    match length {
        _ if length > BYTES_MAX => Err(Malformed::Long),
        _ if length > bytes.len() => Ok(Extent::More),
        _ => Ok(Extent::Bytes(length)),
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Who calls the proxy; nobody where it speaks for itself, or for one whose address is not of the internet.
    pub(super) source: Option<SocketAddr>,
    /// Whether that one came by TLS.
    pub(super) is_tls: bool,
}

impl Header {
    const NOBODY: Self = Self {
        source: None,
        is_tls: false,
    };

    /// Reads a whole header.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.strip_prefix(LINE) {
            Some(rest) => parse_line(rest),
            None => parse_binary(bytes),
        }
    }
}

fn parse_line(rest: &[u8]) -> Result<Header, Malformed> {
    let text = rest.strip_suffix(b"\r\n").ok_or(Malformed::Absent)?;
    let text = str::from_utf8(text).map_err(|_| Malformed::Addresses)?;
    let mut words = text.split(' ');
    let family = words.next().unwrap_or_default();
    // Whatever follows it means nothing.
    if family == "UNKNOWN" {
        return Ok(Header::NOBODY);
    }
    let words: Vec<&str> = words.collect();
    let [source, target, source_port, target_port] = words[..] else {
        return Err(Malformed::Addresses);
    };
    let addresses = match family {
        "TCP4" => both::<Ipv4Addr>(source, target),
        "TCP6" => both::<Ipv6Addr>(source, target),
        _ => None,
    };
    let source = addresses.ok_or(Malformed::Addresses)?;
    let ports = port(source_port).zip(port(target_port));
    let (port, _) = ports.ok_or(Malformed::Addresses)?;
    Ok(Header {
        source: Some(address(source, port)),
        is_tls: false,
    })
}

/// The first of two addresses of one family.
fn both<A: std::str::FromStr + Into<IpAddr>>(source: &str, target: &str) -> Option<IpAddr> {
    let _: A = target.parse().ok()?;
    let source: A = source.parse().ok()?;
    Some(source.into())
}

/// Digits without a sign or a zero in front.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

fn parse_binary(bytes: &[u8]) -> Result<Header, Malformed> {
    let (fixed, rest) = bytes
        .split_at_checked(FIXED_BYTES)
        .ok_or(Malformed::Absent)?;
    match fixed[12] {
        // The proxy speaks for itself: it looks whether somebody is there.
        0x20 => return Ok(Header::NOBODY),
        0x21 => {}
        _ => return Err(Malformed::Version),
    }
    // Family and transport. What is not TCP is nobody that could be answered.
    let (source, told) = match fixed[13] {
        0x11 => source::<4, 12>(rest)?,
        0x21 => source::<16, 36>(rest)?,
        // Unix sockets, datagrams, and what the proxy does not know.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Ok(Header::NOBODY),
        _ => return Err(Malformed::Addresses),
    };
    Ok(Header {
        source: Some(source),
        is_tls: is_by_tls(told),
    })
}

/// The first of two addresses of `N` bytes with their ports, `ALL` bytes together; and what follows them.
fn source<const N: usize, const ALL: usize>(rest: &[u8]) -> Result<(SocketAddr, &[u8]), Malformed>
where
    [u8; N]: Into<IpAddr>,
{
    let (addresses, told) = rest
        .split_first_chunk::<ALL>()
        .ok_or(Malformed::Addresses)?;
    let ip = addresses
        .first_chunk::<N>()
        .expect("two addresses are longer than one");
    let port = u16::from_be_bytes([addresses[2 * N], addresses[2 * N + 1]]);
    Ok((address((*ip).into(), port), told))
}

/// One of the old internet that was written as one of the new is the same caller.
fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// What follows the addresses is a list of kinds, lengths and values. One that breaks off says nothing more.
fn is_by_tls(mut told: &[u8]) -> bool {
    while let Some(([kind, high, low], rest)) = told.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        if *kind == TLS {
            return value.first().is_some_and(|bits| bits & BY_TLS != 0);
        }
        told = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[u8] = &[198, 51, 100, 7, 192, 0, 2, 1, 0x30, 0x39, 0x01, 0xbb];

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a short one");
        let length = length.to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[track_caller]
    fn check_source(bytes: &[u8], source: Option<&str>) {
        assert_eq!(extent(bytes), Ok(Extent::Bytes(bytes.len())));
        let header = Header::parse(bytes).expect("a header");
        assert_eq!(
            header.source,
            source.map(|text| text.parse().expect("an address"))
        );
        // And wherever it is cut off, more has to come.
        for length in 0..bytes.len() {
            assert_eq!(extent(&bytes[..length]), Ok(Extent::More), "{length}");
        }
    }

    #[test]
    fn both_versions_say_who_calls() {
        check_source(
            b"PROXY TCP4 198.51.100.7 192.0.2.1 12345 443\r\n",
            Some("198.51.100.7:12345"),
        );
        check_source(
            b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
            Some("[2001:db8::7]:1"),
        );
        check_source(&binary(0x21, 0x11, V4), Some("198.51.100.7:12345"));
        let v6 = [
            &[0x20, 1, 0x0d, 0xb8][..],
            &[0; 11],
            &[7],
            &[9; 16],
            &[0, 80, 1, 187],
        ];
        check_source(&binary(0x21, 0x21, &v6.concat()), Some("[2001:db8::7]:80"));
    }

    #[test]
    fn an_address_of_the_old_internet_is_one_however_it_is_written() {
        check_source(
            b"PROXY TCP6 ::ffff:198.51.100.7 ::1 9 443\r\n",
            Some("198.51.100.7:9"),
        );
        let mapped = [
            &[0; 10][..],
            &[0xff, 0xff, 198, 51, 100, 7],
            &[0; 16],
            &[0, 9, 0, 1],
        ];
        check_source(
            &binary(0x21, 0x21, &mapped.concat()),
            Some("198.51.100.7:9"),
        );
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_or_does_not_know_names_nobody() {
        check_source(b"PROXY UNKNOWN\r\n", None);
        check_source(
            b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            None,
        );
        check_source(&binary(0x20, 0x00, &[]), None);
        check_source(&binary(0x20, 0x11, V4), None);
        check_source(&binary(0x21, 0x00, &[]), None);
        check_source(&binary(0x21, 0x12, V4), None);
        check_source(&binary(0x21, 0x31, &[b'/'; 216]), None);
    }

    #[test]
    fn what_follows_the_addresses_tells_whether_the_caller_came_by_tls() {
        let name = [&[2, 0, 3][..], b"abc"].concat();
        for (told, is_tls) in [
            (&[][..], false),
            (&[0x20, 0, 5, 0x01, 0, 0, 0, 0], true),
            (&[0x20, 0, 5, 0x06, 0, 0, 0, 0], false),
            (&[0x20, 0, 0], false),
            (&[0x20, 0, 9, 0x01], false),
            (&[0x20], false),
        ] {
            for before in [&[][..], &name] {
                let bytes = binary(0x21, 0x11, &[V4, before, told].concat());
                assert_eq!(extent(&bytes), Ok(Extent::Bytes(bytes.len())));
                let header = Header::parse(&bytes).expect("a header");
                assert_eq!(header.is_tls, is_tls, "{told:?}");
            }
        }
    }

    #[test]
    fn what_is_behind_a_header_is_not_part_of_it() {
        for header in [&b"PROXY UNKNOWN\r\n"[..], &binary(0x21, 0x11, V4)] {
            let bytes = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(extent(&bytes), Ok(Extent::Bytes(header.len())));
        }
    }

    #[track_caller]
    fn check_malformed(bytes: &[u8], expected: Malformed) {
        let read = extent(bytes).and_then(|extent| match extent {
            Extent::Bytes(length) => Header::parse(&bytes[..length]).map(drop),
            Extent::More => Ok(()),
        });
        assert_eq!(read, Err(expected), "{bytes:?}");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "PROXY\r\n",
            "proxy UNKNOWN\r\n",
            "\x16\x03\x01",
            "\r\n\r\nGET",
        ] {
            check_malformed(text.as_bytes(), Malformed::Absent);
        }
        for line in [
            "",
            "TCP4",
            "TCP4 1.2.3.4 1.2.3.4 1",
            "TCP4 1.2.3.4 1.2.3.4 1 2 3",
            "TCP4 1.2.3.4 ::1 1 2",
            "TCP4 ::1 ::1 1 2",
            "TCP6 1.2.3.4 ::1 1 2",
            "TCP4  1.2.3.4 1.2.3.4 1 2",
            "TCP4 1.2.3.4 1.2.3.4 01 2",
            "TCP4 1.2.3.4 1.2.3.4 +1 2",
            "TCP4 1.2.3.4 1.2.3.4 1 65536",
            "TCP4 1.2.3 1.2.3.4 1 2",
            "UDP4 1.2.3.4 1.2.3.4 1 2",
        ] {
            check_malformed(format!("PROXY {line}\r\n").as_bytes(), Malformed::Addresses);
        }
        check_malformed(b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n", Malformed::Addresses);
        check_malformed(&binary(0x11, 0x11, V4), Malformed::Version);
        check_malformed(&binary(0x22, 0x11, V4), Malformed::Version);
        check_malformed(&binary(0x21, 0x41, V4), Malformed::Addresses);
        check_malformed(&binary(0x21, 0x11, &V4[..11]), Malformed::Addresses);
        check_malformed(&binary(0x21, 0x21, V4), Malformed::Addresses);
    }

    #[test]
    fn a_header_has_an_end() {
        let line = [LINE, &[b'x'; LINE_BYTES_MAX - 8], b"\r\n"].concat();
        assert_eq!(extent(&line), Ok(Extent::Bytes(LINE_BYTES_MAX)));
        let line = [LINE, &[b'x'; LINE_BYTES_MAX - 7], b"\r\n"].concat();
        check_malformed(&line, Malformed::Long);
        let longest = binary(0x20, 0x00, &[0; BYTES_MAX - FIXED_BYTES]);
        assert_eq!(extent(&longest), Ok(Extent::Bytes(BYTES_MAX)));
        let longer = binary(0x20, 0x00, &[0; BYTES_MAX - FIXED_BYTES + 1]);
        check_malformed(&longer, Malformed::Long);
        // It is known from its head.
        check_malformed(&longer[..FIXED_BYTES], Malformed::Long);
    }
}
