//! A mail as it goes over the wire behind DATA.

/// The mail and its end (RFC 5321, 4.5.2): a dot before a line gets another one, so that the only line that is a dot is the last.
///
/// Lines end in CRLF and nothing else is sent that some server takes for the end of a line: a mail with `LF . LF` in it would
/// be two mails to such a one, the second of which says what the author of the first wants.
pub(super) fn transparent(mail: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(mail.len() + mail.len() / 64 + 5);
    let mut is_at_start = true;
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if matches!(byte, b'\r' | b'\n') {
            if byte == b'\r' {
                let _ = bytes.next_if_eq(&b'\n');
            }
            sent.extend_from_slice(b"\r\n");
            is_at_start = true;
            continue;
        }
        if is_at_start && byte == b'.' {
            sent.push(b'.');
        }
        sent.push(byte);
        is_at_start = false;
    }
    if !is_at_start {
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b".\r\n");
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mail: &str, expected: &str) {
        let sent = String::from_utf8(transparent(mail.as_bytes()));
        assert_eq!(sent.as_deref(), Ok(expected), "{mail:?}");
    }

    #[test]
    fn the_last_line_is_the_only_one_that_is_a_dot() {
        check("a\r\n", "a\r\n.\r\n");
        check("a", "a\r\n.\r\n");
        check("", ".\r\n");
        check(".\r\n", "..\r\n.\r\n");
        check("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n");
        check("a\r\n..b\r\n.c\r\n", "a\r\n...b\r\n..c\r\n.\r\n");
        check("a.\r\nb.c\r\n", "a.\r\nb.c\r\n.\r\n");
    }

    #[test]
    fn no_server_finds_another_end_in_it() {
        check("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n");
        check("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n");
        check("a\r\n.\nb", "a\r\n..\r\nb\r\n.\r\n");
        check("a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n");
        check("a\r\r\nb", "a\r\n\r\nb\r\n.\r\n");
    }
}
