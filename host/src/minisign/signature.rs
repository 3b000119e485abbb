//! Detached signatures: four lines beside the file that they are of.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64;

use super::{COMMENT, HASHED, KeyId, PublicKey, TRUSTED_COMMENT, blake2b_512, decoded};

/// A signature: whose, of which content, with a comment that is signed as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub(super) id: KeyId,
    pub(super) bytes: [u8; 64],
    pub(super) comment: String,
    pub(super) global: [u8; 64],
}

/// A text is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A line is missing, or is not what stands there in a signature.
    #[error("line {0} is not that of a minisign signature")]
    Line(usize),
    /// Made the old way, over the whole content instead of its hash.
    #[error("it is in minisign's legacy form, which signs without hashing")]
    Legacy,
}

/// What a signature was not made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    /// The content is another one.
    Content,
    /// The trusted comment is another one.
    Comment,
}

impl Signature {
    /// The number of the key that it says it was made with.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// Its trusted comment; to be believed after [`verify`](Self::verify).
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The value of `name:value` in the trusted comment, whose fields tabs or spaces part.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.comment.split(['\t', ' ']);
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Whether `key` made it of `content`.
    ///
    /// # Errors
    ///
    /// [`Differs`]; the key's number plays no part.
    pub fn verify(&self, key: &PublicKey, content: &[u8]) -> Result<(), Differs> {
        let key = UnparsedPublicKey::new(&ED25519, key.key);
        key.verify(&blake2b_512(content), &self.bytes)
            .map_err(|_| Differs::Content)?;
        let commented = [&self.bytes[..], self.comment.as_bytes()].concat();
        key.verify(&commented, &self.global)
            .map_err(|_| Differs::Comment)
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
        let mut next = |number: usize| lines.next().ok_or(SignatureError::Line(number));
        if !next(1)?.starts_with(COMMENT.trim_end()) {
            return Err(SignatureError::Line(1));
        }
        let bytes: [u8; 74] = decoded(next(2)?).ok_or(SignatureError::Line(2))?;
        let comment = next(3)?.strip_prefix(TRUSTED_COMMENT);
        let comment = comment.ok_or(SignatureError::Line(3))?.to_owned();
        let global = decoded(next(4)?).ok_or(SignatureError::Line(4))?;
        if next(5).is_ok_and(|line| !line.trim().is_empty()) {
            return Err(SignatureError::Line(5));
        }
        match [bytes[0], bytes[1]] {
            HASHED => {}
            super::ALGORITHM => return Err(SignatureError::Legacy),
            _ => return Err(SignatureError::Line(2)),
        }
        let (id, signature) = bytes[2..].split_at(8);
        Ok(Self {
            id: KeyId(id.try_into().map_err(|_| SignatureError::Line(2))?),
            bytes: signature.try_into().map_err(|_| SignatureError::Line(2))?,
            comment,
            global,
        })
    }
}

impl fmt::Display for Signature {
    /// The whole file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&HASHED[..], &self.id.0, &self.bytes].concat();
        writeln!(f, "{COMMENT}signature of nself key {}", self.id)?;
        writeln!(f, "{}", BASE64.encode(&bytes))?;
        writeln!(f, "{TRUSTED_COMMENT}{}", self.comment)?;
        writeln!(f, "{}", BASE64.encode(&self.global))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SecretKey;
    use super::*;

    #[test]
    fn a_signature_is_of_one_content_one_comment_and_one_key() {
        let key = SecretKey::generate().expect("a key");
        let signature = key
            .sign(b"content", "file:it.so\texpires:7")
            .expect("signed");
        let read: Signature = signature.to_string().parse().expect("a signature");
        assert_eq!(read, signature);
        assert_eq!(read.verify(&key.public(), b"content"), Ok(()));
        assert_eq!(read.field("expires"), Some("7"));
        assert_eq!(read.field("file"), Some("it.so"));
        assert_eq!(read.field("fil"), None);
        let of = |content: &[u8]| read.verify(&key.public(), content);
        assert_eq!(of(b"Content"), Err(Differs::Content));
        let mut commented = read.clone();
        commented.comment.push('7');
        let other = commented.verify(&key.public(), b"content");
        assert_eq!(other, Err(Differs::Comment));
        let stranger = SecretKey::generate().expect("a key").public();
        assert_eq!(read.verify(&stranger, b"content"), Err(Differs::Content));
    }

    #[test]
    fn a_garbled_file_is_told_by_its_line() {
        let key = SecretKey::generate().expect("a key");
        let whole = key.sign(b"content", "a").expect("signed").to_string();
        let lines: Vec<&str> = whole.lines().collect();
        for number in 1..=4 {
            let mut garbled = lines.clone();
            garbled[number - 1] = "garbled";
            let error = garbled.join("\n").parse::<Signature>();
            assert_eq!(error, Err(SignatureError::Line(number)));
            let cut = lines[..number - 1].join("\n").parse::<Signature>();
            assert_eq!(cut, Err(SignatureError::Line(number)));
        }
        let more = format!("{whole}more\n").parse::<Signature>();
        assert_eq!(more, Err(SignatureError::Line(5)));
        // `RW` is how `Ed` and the number begin, `RU` how `ED` does.
        let legacy = lines[1].replacen("RU", "RW", 1);
        let legacy = whole.replacen(lines[1], &legacy, 1).parse::<Signature>();
        assert_eq!(legacy, Err(SignatureError::Legacy));
    }
}
