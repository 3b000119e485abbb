//! Text without an allocator, for a signal handler.

/// Room for all that a handler says.
const BYTES_MAX: usize = 1_024;

/// Text that grows until its room is full; what comes after that is lost.
pub(super) struct Words {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Words {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; BYTES_MAX],
            length: 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Text as it is.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        text.bytes().for_each(|byte| self.byte(byte));
        self
    }

    /// At most `bytes_max` of somebody else's text, on one line.
    pub(super) fn line_of(&mut self, text: &str, bytes_max: usize) -> &mut Self {
        for byte in text.bytes().take(bytes_max) {
            self.byte(if byte.is_ascii_graphic() || byte == b' ' {
                byte
            } else {
                b'?'
            });
        }
        self
    }

    /// A number in a base of at most sixteen.
    pub(super) fn number(&mut self, number: u64, base: u64) -> &mut Self {
        let mut place = 1;
        while number / place >= base {
            place *= base;
        }
        while place > 0 {
            let digit = number / place % base;
            // Less than sixteen, so that it fits.
            let digit = b"0123456789abcdef".get(usize::try_from(digit).unwrap_or_default());
            self.byte(digit.copied().unwrap_or(b'?'));
            place /= base;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_of_others_are_one_line() {
        let mut words = Words::new();
        words.number(0, 10).text(" ").number(11, 10).text(" ");
        words.number(0x1a2b, 16).text(" ").number(u64::MAX, 16);
        words.text(" ").line_of("GET /a\nend\u{e4}", 9);
        let text = String::from_utf8_lossy(words.bytes()).into_owned();
        assert_eq!(text, "0 11 1a2b ffffffffffffffff GET /a?en");
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let mut words = Words::new();
        (0..BYTES_MAX).for_each(|_| _ = words.text("ab"));
        assert_eq!(words.bytes().len(), BYTES_MAX);
    }
}
