//! Playback addresses: what one says, and how one that somebody brings is read.
//!
//! An address is the content's place at the media origin with `family`, `session`, `expires`, `key` and `signature` behind it. What
//! lies below the content's place (segments, playlists) is played with the same words. The path is compared as it is written,
//! so it must be one that has no second spelling: a server may open another file for `a/../b` than the one that was looked at.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// Bytes of a signature: all that HMAC-SHA-256 gives.
pub(super) const SIGNATURE_BYTES: usize = 32;

/// Longest address that is looked at.
const ADDRESS_BYTES_MAX: usize = 4_096;

/// Where the content's id stands.
const HOLE: &str = "{content}";

/// What an address lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub family_id: Uuid,
    pub session_id: Uuid,
    pub content_id: Uuid,
    /// Seconds since 1970.
    pub expires_at: u64,
}

impl Grant {
    /// What is signed: of fixed lengths, so no two grants have the same.
    pub(super) fn signed_bytes(&self, key: u8) -> Vec<u8> {
        let mut bytes = b"nself stream playback 1\0".to_vec();
        bytes.push(key);
        for id in [self.family_id, self.session_id, self.content_id] {
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(&self.expires_at.to_be_bytes());
        bytes
    }
}

/// A signature, and the key that it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    pub key: u8,
    pub bytes: [u8; SIGNATURE_BYTES],
}

/// An address that somebody brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Presented {
    pub grant: Grant,
    pub signature: Signature,
    /// Whether its path is that of the content which it is signed for.
    pub is_of_its_content: bool,
}

/// What becomes of an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It plays.
    Good(Grant),
    /// It is not signed, changed, or too old.
    Unsigned,
    /// It is signed and plays nothing: its session has ended, or it is for something else.
    Refused,
}

/// Where contents are at the media origin.
#[derive(Debug)]
pub(crate) struct Place {
    template: String,
    /// What stands in the path before and behind the content's id.
    before: String,
    behind: String,
}

impl Place {
    /// From an address with a hole; `None` when it has no hole in its path, or a path with a second spelling.
    pub(super) fn new(template: &str) -> Option<Self> {
        let path = path_of(template);
        let (before, behind) = path.split_once(HOLE)?;
        let is_good = is_plain(before)
            && is_plain(behind)
            && before.ends_with('/')
            && (behind.is_empty() || behind.starts_with(['/', '.']))
            && template.matches(HOLE).count() == 1
            && !template.contains(['?', '#']);
        is_good.then(|| Self {
            template: template.to_owned(),
            before: before.to_owned(),
            behind: behind.to_owned(),
        })
    }

    pub(super) fn address(&self, grant: &Grant, signature: &Signature) -> String {
        let content = grant.content_id.to_string();
        format!(
            "{}?family={}&session={}&expires={}&key={}&signature={}",
            self.template.replace(HOLE, &content),
            grant.family_id,
            grant.session_id,
            grant.expires_at,
            signature.key,
            URL_SAFE_NO_PAD.encode(signature.bytes)
        )
    }

    /// Reads an address, whole or from its path on. Words that it does not know are passed over, such as what a player adds.
    pub(super) fn read(&self, address: &str) -> Option<Presented> {
        if address.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let (place, query) = address.split_once('?')?;
        let path = path_of(place);
        let words = Words::read(query)?;
        // Without a content in its path, its signature cannot be one of ours.
        let named = self.content_in(path);
        Some(Presented {
            grant: Grant {
                family_id: canonical(words.family?)?,
                session_id: canonical(words.session?)?,
                content_id: named.or_else(|| somewhere_in(path))?,
                expires_at: words.expires?.parse().ok()?,
            },
            signature: Signature {
                key: words.key?.parse().ok()?,
                bytes: URL_SAFE_NO_PAD
                    .decode(words.signature?)
                    .ok()?
                    .try_into()
                    .ok()?,
            },
            is_of_its_content: named.is_some(),
        })
    }

    /// The content that a path is of, or lies below.
    fn content_in(&self, path: &str) -> Option<Uuid> {
        let rest = path.strip_prefix(&*self.before)?;
        let (id, behind) = rest.split_at_checked(Uuid::nil().hyphenated().to_string().len())?;
        let is_below = behind == self.behind || behind.starts_with('/') || behind.is_empty();
        if is_below && is_clean(path) {
            canonical(id)
        } else {
            None
        }
    }
}

/// The first id among the parts of a path, so that a signature that is good for another place is told from none at all.
fn somewhere_in(path: &str) -> Option<Uuid> {
    path.split(['/', '.']).find_map(canonical)
}

/// The path of an address: what comes behind its host, if it has one.
fn path_of(address: &str) -> &str {
    let Some((_, rest)) = address.split_once("://") else {
        return address;
    };
    rest.find('/').map_or("", |at| &rest[at..])
}

fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~-".contains(&byte);
    text.bytes().all(is_plain)
}

/// Whether a path has one spelling.
fn is_clean(path: &str) -> bool {
    let Some(parts) = path.strip_prefix('/') else {
        return false;
    };
    let is_part = |part: &str| !part.is_empty() && part.bytes().any(|byte| byte != b'.');
    is_plain(path) && parts.split('/').all(is_part)
}

/// The id, if that is how ids are written.
fn canonical(id: &str) -> Option<Uuid> {
    let read = Uuid::parse_str(id).ok()?;
    let mut buffer = Uuid::encode_buffer();
    (read.hyphenated().encode_lower(&mut buffer) == id).then_some(read)
}

/// What stands behind the path.
#[derive(Default)]
struct Words<'a> {
    family: Option<&'a str>,
    session: Option<&'a str>,
    expires: Option<&'a str>,
    key: Option<&'a str>,
    signature: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// `None` when one of them is said twice.
    fn read(query: &'a str) -> Option<Self> {
        let mut words = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let word = match name {
                "family" => &mut words.family,
                "session" => &mut words.session,
                "expires" => &mut words.expires,
                "key" => &mut words.key,
                "signature" => &mut words.signature,
                _ => continue,
            };
            if word.replace(value).is_some() {
                return None;
            }
        }
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Uuid = Uuid::from_u128(0xab);
    const GRANT: Grant = Grant {
        family_id: Uuid::from_u128(1),
        session_id: Uuid::from_u128(2),
        content_id: CONTENT,
        expires_at: 1_700_000_000,
    };
    const SIGNATURE: Signature = Signature {
        key: 7,
        bytes: [9; SIGNATURE_BYTES],
    };

    fn query(place: &Place) -> String {
        let address = place.address(&GRANT, &SIGNATURE);
        address
            .split_once('?')
            .expect("an address has words")
            .1
            .to_owned()
    }

    #[test]
    fn an_address_reads_as_it_was_made() {
        for template in [
            "/media/{content}",
            "/media/{content}.mp4",
            "https://media.example.org/a/{content}/index.m3u8",
            "http://127.0.0.1:8080/{content}",
        ] {
            let place = Place::new(template).unwrap_or_else(|| panic!("{template} is a place"));
            let address = place.address(&GRANT, &SIGNATURE);
            let expected = Presented {
                grant: GRANT,
                signature: SIGNATURE,
                is_of_its_content: true,
            };
            assert_eq!(place.read(&address), Some(expected), "{address}");
        }
    }

    #[test]
    fn a_template_needs_its_hole_in_a_plain_path() {
        for template in [
            "/media",
            "https://{content}.example.org/media",
            "/media/{content}/{content}",
            "/media/{content}?a=b",
            "/media/x{content}",
            "/me dia/{content}",
            "/media/{content}x",
        ] {
            assert!(Place::new(template).is_none(), "{template}");
        }
    }

    #[test]
    fn a_path_is_of_its_content_in_one_spelling_only() {
        let place = Place::new("/media/{content}").expect("a place");
        let words = query(&place);
        let other = Uuid::from_u128(0xac);
        for (path, is_of_it) in [
            (format!("/media/{CONTENT}"), true),
            (format!("/media/{CONTENT}/720p/seg-1.ts"), true),
            (format!("/media/{CONTENT}/../{other}"), false),
            (format!("/media/{CONTENT}/..%2f{other}"), false),
            (format!("/media/{CONTENT}/%2e%2e/{other}"), false),
            (format!("/media/{CONTENT}//seg"), false),
            (format!("//media/{CONTENT}"), false),
            (format!("/media/{CONTENT}x"), false),
            (format!("/other/{CONTENT}"), false),
            (format!("/media/a/../{CONTENT}"), false),
            (format!("/media/{CONTENT}/a\\..\\b"), false),
            (format!("/media/{CONTENT}/seg;{other}"), false),
        ] {
            let read = place.read(&format!("{path}?{words}"));
            let got = read.is_some_and(|read| read.is_of_its_content);
            assert_eq!(got, is_of_it, "{path}");
        }
    }

    #[test]
    fn what_is_left_out_or_said_twice_is_no_address() {
        let place = Place::new("/media/{content}").expect("a place");
        let words = query(&place);
        let path = format!("/media/{CONTENT}");
        for query in [
            String::new(),
            format!("{words}&expires=9999999999"),
            format!("expires=9999999999&{words}"),
            words.replace("key=7", "key=256"),
            words.replace("signature=", "signature=A"),
            words.replace("session=", "session=urn:uuid:"),
            words.replace("expires=", "expires=-"),
        ] {
            assert_eq!(place.read(&format!("{path}?{query}")), None, "{query}");
        }
        assert_eq!(place.read(&path), None);
        assert!(place.read(&format!("{path}?{words}&_=1")).is_some());
    }
}
