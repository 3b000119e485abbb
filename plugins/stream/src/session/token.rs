//! The token of a connection, kept to be verified again when sessions end. There are thousands of them: what a token's text stands for is a
//! quarter shorter than the text, and nearly all begin with the same words, which are kept once.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// How the last token began: the next one does so, too.
#[derive(Default)]
pub(crate) struct Heads(Mutex<Option<Arc<str>>>);

impl Heads {
    fn shared(&self, head: &str) -> Arc<str> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(last) if **last == *head => Arc::clone(last),
            _ => Arc::clone(last.insert(head.into())),
        }
    }
}

/// A token. Nothing shows it.
pub(super) enum Token {
    Packed {
        head: Arc<str>,
        /// What was signed, and the signature.
        rest: Box<[u8]>,
        signature_at: usize,
    },
    /// One that is not written as tokens are; it is none that was verified.
    Text(Box<str>),
}

impl Token {
    pub(super) fn new(text: &str, heads: &Heads) -> Self {
        Self::packed(text, heads).unwrap_or_else(|| Self::Text(text.into()))
    }

    /// The same by its parts (RFC 7515, section 7.1), of which each can be written in one way only.
    fn packed(text: &str, heads: &Heads) -> Option<Self> {
        let (head, rest) = text.split_once('.')?;
        let (payload, signature) = rest.split_once('.')?;
        let mut rest = Vec::with_capacity(rest.len());
        URL_SAFE_NO_PAD.decode_vec(payload, &mut rest).ok()?;
        let signature_at = rest.len();
        URL_SAFE_NO_PAD.decode_vec(signature, &mut rest).ok()?;
        Some(Self::Packed {
            head: heads.shared(head),
            rest: rest.into(),
            signature_at,
        })
    }

    /// As its bearer has sent it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Packed {
                head,
                rest,
                signature_at,
            } => {
                let (payload, signature) = rest.split_at(*signature_at);
                let [payload, signature] =
                    [payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part));
                format!("{head}.{payload}.{signature}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "eyJhbGciOiJFUzI1NiJ9";

    #[track_caller]
    fn check(text: &str, is_packed: bool) {
        let token = Token::new(text, &Heads::default());
        assert_eq!(token.text(), text);
        assert_eq!(matches!(token, Token::Packed { .. }), is_packed, "{text}");
    }

    #[test]
    fn a_token_is_the_same_again() {
        check(&format!("{HEAD}.eyJzdWIiOiJhIn0.-_8A"), true);
        check(&format!("{HEAD}.."), true);
        // Ends, letters and parts that no token has.
        check(&format!("{HEAD}.eyJzdWIiOiJhIn1.-_8B"), false);
        check(&format!("{HEAD}.eyJzdWIiOiJhIn0=.-_8A"), false);
        check(&format!("{HEAD}.eyJzdWIiOiJhIn0.+/8A"), false);
        check(&format!("{HEAD}.eyJzdWIiOiJhIn0.-_8A.a"), false);
        check(&format!("{HEAD}.eyJzdWIiOiJhIn0"), false);
        check("", false);
    }

    #[test]
    fn what_tokens_begin_with_is_kept_once() {
        let heads = Heads::default();
        let head = |text: &str| match Token::new(text, &heads) {
            Token::Packed { head, .. } => head,
            Token::Text(text) => panic!("{text}"),
        };
        let first = head("eyJ9.e30.AA");
        assert!(Arc::ptr_eq(&first, &head("eyJ9.e30.AQ")));
        let other = head("eyJ8.e30.AA");
        assert_eq!((&*first, &*other), ("eyJ9", "eyJ8"));
    }
}
