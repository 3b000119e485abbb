//! Wrong proofs, as the audit log tells of them: who was tried, in which way, how often and from where. Never what was tried,
//! and no address that has no account: people type their passwords there.

use nself_plugin_api::{jiff::SignedDuration, prelude::*};
use uuid::Uuid;

use crate::{Auth, caller::Caller, store::failed_proofs};

/// How long wrong proofs of one account are counted together.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The password of who wants to sign in.
    SignIn,
    /// The fresh proof of who is signed in.
    Reauthentication,
    /// The old password of who wants a new one.
    PasswordChange,
    /// The second factor.
    SecondFactor,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Reauthentication => "reauthentication",
            Self::PasswordChange => "password_change",
            Self::SecondFactor => "second_factor",
        }
    }
}

/// Counts a wrong proof of an account, or of an address that has none: that is the same work.
pub(crate) async fn note(
    cx: &Cx<Auth>,
    db: &impl Queries,
    user_id: Option<Uuid>,
    way: Way,
    caller: &Caller,
) -> Result<()> {
    let (now, network) = (cx.clock().now()?, caller.network());
    failed_proofs::note(db, user_id, way.name(), Some(&network), now).await
}
