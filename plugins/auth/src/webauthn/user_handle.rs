//! How authenticators know whose credential it is (section 5.4.3).
//!
//! The handle is a text: the account's id in base64url. Browsers' libraries of some years ago take `user.id` for a text, and
//! today's take it for base64url of bytes, so what an authenticator keeps is encoded once, or once more; and what it says is
//! sent back in either way. One account has all of these, and no two accounts have one in common.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// As it stands in the options: base64url of the text.
pub(crate) fn write(user_id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(text(user_id))
}

/// Whether what an authenticator has said, decoded once, is a person's handle.
pub(super) fn is_of(handle: &[u8], user_id: Uuid) -> bool {
    let text = text(user_id);
    handle == user_id.as_bytes() || handle == text.as_bytes() || handle == write(user_id).as_bytes()
}

fn text(user_id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(user_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a library makes of `user.id`, and of what the authenticator says.
    type Library = (fn(&str) -> Vec<u8>, fn(&[u8]) -> String);

    const OF_TODAY: Library = (
        |id| URL_SAFE_NO_PAD.decode(id).expect("base64url"),
        |handle| URL_SAFE_NO_PAD.encode(handle),
    );
    const OF_BEFORE: Library = (
        |id| id.as_bytes().to_vec(),
        |handle| String::from_utf8_lossy(handle).into_owned(),
    );

    #[test]
    fn every_library_knows_whose_credential_another_one_has_made() {
        let user_id = Uuid::now_v7();
        for (keep, _) in [OF_TODAY, OF_BEFORE] {
            for (_, say) in [OF_TODAY, OF_BEFORE] {
                let said = say(&keep(&write(user_id)));
                let handle = URL_SAFE_NO_PAD.decode(said).expect("base64url");
                assert!(is_of(&handle, user_id));
                assert!(!is_of(&handle, Uuid::now_v7()));
            }
        }
        assert!(!is_of(&[], user_id));
    }
}
