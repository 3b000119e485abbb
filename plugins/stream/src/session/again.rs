//! Clients that come again while their connections before are held for open: nobody has told this host that those have ended, because a
//! network ends without a word.

use std::sync::Arc;

use nself_plugin_api::prelude::*;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{Session, answer::No, user};
use crate::{
    Stream, leaving,
    protocol::{Disconnect, Error as Refusal},
};

/// Lets a client that has a name for itself take the place of its connection before. To others it is the same client, who has not left.
///
/// # Errors
///
/// [`Disconnect::BAD_REQUEST`] for who was refused as somebody else by this connection.
pub(super) fn take_over(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    user: &str,
    instance: Option<&str>,
) -> std::result::Result<(), Disconnect> {
    let name = instance.map(|instance| known_as(user, instance));
    let before = session.known_as.get().copied();
    if before.is_some() && before != name {
        return Err(Disconnect::BAD_REQUEST);
    }
    let Some(name) = name else {
        return Ok(());
    };
    session.known_as.get_or_init(|| name);
    if let Some(before) = cx.plugin().hub.succeed(session) {
        leaving::give_way(cx, &before);
    }
    Ok(())
}

/// What others call a user's client: the same on each host, and nobody else's, whatever that one calls itself.
fn known_as(user: &str, instance: &str) -> Uuid {
    let mut digest = Sha256::new();
    // The length keeps the two apart.
    digest.update(user.len().to_le_bytes());
    digest.update(user);
    digest.update(instance);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// What somebody is told who has as many connections as they may have. As long as it is not known that somebody is behind each of them, they
/// are to come again in a moment: who is not there is gone by then.
///
/// # Errors
///
/// When there is no clock.
pub(super) fn no_room(cx: &Cx<Stream>, of: &str) -> Result<No> {
    let (now, config) = (cx.clock().monotonic()?, &cx.plugin().config);
    let mut sessions = cx.plugin().hub.all_sessions();
    sessions.retain(|session| session.with_principal(|one| user(one) == of) == Some(true));
    // All of them are asked, not only those up to the first that may be gone.
    let unsure = sessions
        .iter()
        .filter(|session| !session.is_surely_there(now, config));
    Ok(match unsure.count() {
        0 => Disconnect::CONNECTION_LIMIT.into(),
        _ => Refusal::TOO_MANY_REQUESTS.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_called_the_same_again_and_no_two_are() {
        assert_eq!(known_as("a", "b"), known_as("a", "b"));
        assert_ne!(known_as("a", "b"), known_as("a", "c"));
        assert_ne!(known_as("a", "bc"), known_as("ab", "c"));
    }
}
