//! W3C Trace Context, level 1: <https://www.w3.org/TR/trace-context/>.

use std::fmt;

/// Members that `tracestate` may have (section 3.3.1.1).
const MEMBERS_MAX: usize = 32;
/// Bytes of `tracestate` that are passed on at least (section 3.3.1.5); longer ones lose whole members from the end.
const STATE_BYTES_MAX: usize = 512;

/// Which trace a request belongs to, and which span of it is the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace: never all zero.
    pub trace_id: [u8; 16],
    /// The span of whoever sends this: never all zero.
    pub span_id: [u8; 8],
    /// Whether somebody records this trace.
    pub sampled: bool,
    /// `tracestate` as it is passed on; empty when there is none.
    pub state: String,
}

impl TraceContext {
    /// What the headers say; `None` when `traceparent` is not valid, and then `tracestate` does not count either.
    ///
    /// `tracestate` is all headers of that name, joined by `,`. One that is not valid is left out (section 4.3).
    pub fn parse(traceparent: &str, tracestate: &str) -> Option<Self> {
        let bytes = traceparent.trim_matches([' ', '\t']).as_bytes();
        let well_formed = bytes.len() >= 55 && [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
        let [version] = hex::<1>(bytes.get(..2)?)?;
        let length_fits = match version {
            0x00 => bytes.len() == 55,
            // Reserved as invalid.
            0xff => false,
            // A later version may only add, after another `-` (section 3.2.4).
            _ => bytes.len() == 55 || bytes.get(55) == Some(&b'-'),
        };
        if !well_formed || !length_fits {
            return None;
        }
        let trace_id = hex::<16>(&bytes[3..35])?;
        let span_id = hex::<8>(&bytes[36..52])?;
        let [flags] = hex::<1>(&bytes[53..55])?;
        let named = trace_id != [0; 16] && span_id != [0; 8];
        named.then(|| Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
            state: state(tracestate).unwrap_or_default(),
        })
    }

    /// A new trace, not sampled.
    pub fn generate() -> Self {
        Self {
            trace_id: random(),
            span_id: random(),
            sampled: false,
            state: String::new(),
        }
    }

    /// What the headers say, or a new trace.
    pub fn from_headers(traceparent: Option<&str>, tracestate: &str) -> Self {
        traceparent
            .and_then(|parent| Self::parse(parent, tracestate))
            .unwrap_or_else(Self::generate)
    }

    /// The context of a span below this one: the same trace, a span id of its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: random(),
            ..self.clone()
        }
    }

    /// The header `traceparent`, version 00. Flags other than `sampled` are not passed on (section 3.2.2.5).
    pub fn traceparent(&self) -> String {
        self.to_string()
    }

    /// The header `tracestate`, when there is one.
    pub fn tracestate(&self) -> Option<&str> {
        Some(self.state.as_str()).filter(|state| !state.is_empty())
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id),
        );
        write!(
            formatter,
            "00-{trace_id:032x}-{span_id:016x}-{:02x}",
            u8::from(self.sampled)
        )
    }
}

/// Bytes from lower-case hexadecimal; capitals are not valid.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    (digits.len() == N * 2).then_some(bytes)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    while bytes == [0; N] {
        aws_lc_rs::rand::fill(&mut bytes)
            .expect("the system gives random bytes: keys were made with them at start");
    }
    bytes
}

/// The members, or `None` when the list is not valid.
fn state(header: &str) -> Option<String> {
    let members: Vec<&str> = header
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .collect();
    let mut keys = Vec::with_capacity(members.len());
    for member in &members {
        let (key, value) = member.split_once('=')?;
        if !is_key(key) || !is_value(value) || keys.contains(&key) {
            return None;
        }
        keys.push(key);
    }
    if members.len() > MEMBERS_MAX {
        return None;
    }
    let mut kept = String::new();
    for member in members {
        if kept.len() + member.len() + 1 > STATE_BYTES_MAX && !kept.is_empty() {
            break;
        }
        let separator = if kept.is_empty() { "" } else { "," };
        kept.extend([separator, member]);
    }
    Some(kept)
}

fn is_key(key: &str) -> bool {
    let inner = |text: &str| {
        text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte)
        })
    };
    let lower = |text: &str| text.starts_with(|first: char| first.is_ascii_lowercase());
    let lower_or_digit = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
    };
    match key.split_once('@') {
        None => lower(key) && key.len() <= 256 && inner(key),
        Some((tenant, system)) => {
            let tenant_fits = lower_or_digit(tenant) && tenant.len() <= 241 && inner(tenant);
            tenant_fits && lower(system) && system.len() <= 14 && inner(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    let letters_fit = value
        .bytes()
        .all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=');
    letters_fit && (1..=256).contains(&value.len()) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "12345678901234567890123456789012";

    #[track_caller]
    fn check_parent(header: &str, valid: bool) {
        assert_eq!(
            TraceContext::parse(header, "").is_some(),
            valid,
            "{header:?}"
        );
    }

    /// The cases of the specification's validation service (w3c/trace-context, `test/test.py`).
    #[test]
    fn traceparent_is_taken_or_dropped_as_the_specification_says() {
        check_parent(&format!("00-{TRACE}-1234567890123456-00"), true);
        check_parent(&format!("00-{TRACE}-1234567890123456-01"), true);
        check_parent(&format!("  00-{TRACE}-1234567890123456-01\t"), true);
        check_parent(&format!("00-{TRACE}-1234567890123456-ff"), true);
        check_parent(&format!("00-{TRACE}-1234567890123456-01."), false);
        check_parent(&format!("00-{TRACE}-1234567890123456-01-what"), false);
        check_parent(&format!("cc-{TRACE}-1234567890123456-01"), true);
        check_parent(
            &format!("cc-{TRACE}-1234567890123456-01-what-the-future"),
            true,
        );
        check_parent(&format!("cc-{TRACE}-1234567890123456-01.what"), false);
        check_parent(&format!("ff-{TRACE}-1234567890123456-01"), false);
        check_parent(&format!(".0-{TRACE}-1234567890123456-01"), false);
        check_parent(&format!("000-{TRACE}-1234567890123456-01"), false);
        check_parent(
            "00-00000000000000000000000000000000-1234567890123456-01",
            false,
        );
        check_parent(
            "00-.2345678901234567890123456789012-1234567890123456-01",
            false,
        );
        check_parent(
            "00-123456789012345678901234567890123-1234567890123456-01",
            false,
        );
        check_parent(&format!("00-{TRACE}-0000000000000000-00"), false);
        check_parent(&format!("00-{TRACE}-.234567890123456-00"), false);
        check_parent(&format!("00-{TRACE}-12345678901234567-01"), false);
        check_parent(&format!("00-{TRACE}-1234567890123456-.0"), false);
        check_parent(&format!("00-{TRACE}-1234567890123456-001"), false);
        check_parent(
            "00-ABCDEF78901234567890123456789012-1234567890123456-01",
            false,
        );
        check_parent("", false);
        check_parent("00-ääääääääääääääääääääääääääääääää", false);
    }

    #[track_caller]
    fn check_state(header: &str, expected: &str) {
        let context = TraceContext::parse(&format!("00-{TRACE}-1234567890123456-01"), header)
            .expect("the parent is valid");
        assert_eq!(context.state, expected, "{header:?}");
    }

    #[test]
    fn tracestate_is_passed_on_whole_or_not_at_all() {
        check_state("foo=1,bar=2", "foo=1,bar=2");
        check_state("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3");
        check_state("foo=1,,,bar=2", "foo=1,bar=2");
        check_state("foo=1,foo=2", "");
        check_state("foo =1", "");
        check_state("FOO=1", "");
        check_state("foo.bar=1", "");
        check_state("foo@=1,bar=2", "");
        check_state("@foo=1,bar=2", "");
        check_state("foo@@bar=1,bar=2", "");
        check_state("0tenant@system=1", "0tenant@system=1");
        check_state("0key=1", "");
        check_state("foo=bar=baz", "");
        check_state("foo=,bar=3", "");
        check_state(
            &format!("{}=1", "z".repeat(256)),
            &format!("{}=1", "z".repeat(256)),
        );
        check_state(&format!("{}=1", "z".repeat(257)), "");
        check_state(&format!("{}@v=1", "t".repeat(242)), "");
        check_state(&format!("t@{}=1", "v".repeat(15)), "");
        let members = |count: usize| {
            (1..=count)
                .map(|number| format!("bar{number:02}={number:02}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        check_state(&members(32), &members(32));
        check_state(&members(33), "");
    }

    #[test]
    fn a_child_keeps_the_trace_and_takes_a_span_of_its_own() {
        let parent =
            TraceContext::parse(&format!("00-{TRACE}-1234567890123456-03"), "a=1").expect("valid");
        let child = parent.child();
        assert_eq!(
            (child.trace_id, child.state.as_str(), child.sampled),
            (parent.trace_id, "a=1", true)
        );
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(
            parent.traceparent(),
            format!("00-{TRACE}-1234567890123456-01")
        );
        assert_eq!(
            TraceContext::parse(&child.traceparent(), "a=1"),
            Some(child)
        );
    }
}
