//! A session that has begun in a browser and is handed to its app by a code: no token stands in an address then.
//!
//! Good once and for two minutes, to whoever knows the secret whose S256 was sent before (RFC 7636).

use nself_plugin_api::{prelude::*, serde_json::json};

use crate::{
    Auth,
    one_time::{self, Purpose, Subject},
    problem,
    routes::providers::flow::check_verifier,
    session::{self, Tokens},
    store::sessions,
};

pub(crate) async fn make(cx: &Cx<Auth>, tokens: &Tokens, challenge: &str) -> Result<String> {
    let target = tokens.session_id.to_string();
    let subject = Subject {
        purpose: Purpose::SessionCode,
        target: &target,
        user_id: tokens.user.as_ref().map(|user| user.id),
        payload: json!({"code_challenge": challenge}),
    };
    let code = one_time::link(cx, &cx.db(), subject).await?;
    code.ok_or_else(problem::bad_code)
}

/// # Errors
///
/// `CODE_INVALID`, the same for every reason of the code's; what another plugin refuses the tokens with.
pub(crate) async fn exchange(cx: &Cx<Auth>, code: &str, verifier: &str) -> Result<Tokens> {
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(cx, transaction, Purpose::SessionCode, code).await?;
    // Used up, whatever comes next: who shows a wrong secret has stolen the code.
    transaction.commit().await?;
    let challenge = used.payload["code_challenge"].as_str();
    check_verifier(verifier, challenge.unwrap_or_default())?;
    let session_id = used.target.parse().map_err(Error::internal)?;
    let (session, user) = sessions::read(&cx.db(), session_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    session::tokens(cx, &session, user, cx.clock().now()?).await
}
