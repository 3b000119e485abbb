//! W3C Trace Context: the `traceparent` of a request, in, through and out.

use std::fmt;

use super::request_id::unique_u64;

/// The trace that a request belongs to, and the host's own span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// 16 bytes, never all zero.
    pub trace_id: u128,
    /// 8 bytes, never zero: the span of this process.
    pub span_id: u64,
    /// The caller's span, when there is one.
    pub parent_id: Option<u64>,
    /// Whether somebody upstream records this trace.
    pub sampled: bool,
}

impl TraceContext {
    /// A new trace.
    #[must_use]
    pub fn root() -> Self {
        let trace_id = (u128::from(unique_u64()) << 64) | u128::from(unique_u64() | 1);
        Self {
            trace_id,
            span_id: unique_u64() | 1,
            parent_id: None,
            sampled: false,
        }
    }

    /// The next span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: unique_u64() | 1,
            parent_id: Some(self.span_id),
            ..*self
        }
    }

    /// Reads a `traceparent`; the result's span is the sender's.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let version = hex(bytes.get(..2)?)?;
        // Version 00 has exactly this length; later ones may go on after another dash.
        let ends = if version == 0 {
            bytes.len() == 55
        } else {
            bytes.len() == 55 || bytes.get(55) == Some(&b'-')
        };
        if version == 0xff || !ends || [2, 35, 52].iter().any(|dash| bytes[*dash] != b'-') {
            return None;
        }
        let trace_id = hex(&bytes[3..35]).filter(|id| *id != 0)?;
        let span_id = u64::try_from(hex(&bytes[36..52])?)
            .ok()
            .filter(|id| *id != 0)?;
        Some(Self {
            trace_id,
            span_id,
            parent_id: None,
            sampled: hex(&bytes[53..55])? & 1 == 1,
        })
    }
}

impl fmt::Display for TraceContext {
    /// As a `traceparent` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        )
    }
}

/// Lower-case hexadecimal only, as the standard demands.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_child_stays_in_the_trace_and_names_its_parent() {
        let parent = TraceContext::parse(GOOD).expect("the standard's own example");
        let child = parent.child();
        assert_eq!(parent.to_string(), GOOD);
        assert_eq!(
            (child.trace_id, child.parent_id, child.sampled),
            (parent.trace_id, Some(parent.span_id), true)
        );
        assert_ne!(child.span_id, parent.span_id);
    }

    #[test]
    fn damaged_headers_are_not_followed() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        let upper = GOOD.to_uppercase();
        let longer = format!("{GOOD}-x");
        let forbidden = GOOD.replacen("00", "ff", 1);
        for bad in [
            "",
            "00",
            &zero_trace,
            &zero_span,
            &upper,
            &longer,
            &forbidden,
            &GOOD.replace('-', "_"),
        ] {
            assert!(TraceContext::parse(bad).is_none(), "{bad}");
        }
        assert!(
            TraceContext::parse(&longer.replacen("00", "01", 1)).is_some(),
            "a later version may be longer"
        );
    }
}
