//! Doors that somebody signs in by who has an account, and begins one by who has none: all that they show is their mailbox.
//!
//! Every address gets the same answer there. Another plugin that may refuse an account is asked about each of them, and what
//! it says is told by a mail alone: an answer would tell who has an account already.

use nself_plugin_api::{prelude::*, serde_json::json, tracing::warn};

use super::{Applicant, Candidate, ask, ask_for_proof, drafted};
use crate::{
    Auth, SignUp, account,
    caller::Caller,
    landing::Landing,
    mailbox,
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    store::accounts,
    throttle,
};

/// Who stands at the door.
enum Visitor {
    /// Somebody has an account at the address, or nobody may begin one.
    Known,
    /// An account may begin.
    New(Candidate),
    /// An account may not begin.
    Refused(Candidate, Error),
}

/// Mails a link that signs in, and makes the account first where there is none.
///
/// # Errors
///
/// What is wrong with a part.
pub(crate) async fn start_link(
    cx: &Cx<Auth>,
    applicant: Applicant<'_>,
    landing: Landing<'_>,
    caller: &Caller,
) -> Result<()> {
    let email = account::email(applicant.email)?;
    match visitor(cx, applicant, caller).await? {
        Visitor::Known => mailbox::start_link(cx, &email, landing).await,
        Visitor::New(candidate) => ask_for_proof(cx, &candidate, landing).await,
        Visitor::Refused(candidate, error) => tell_refused(cx, &candidate, &error).await,
    }
}

/// The same with a code: whoever types it in is in the app that asked for it.
///
/// # Errors
///
/// What is wrong with a part.
pub(crate) async fn start_code(
    cx: &Cx<Auth>,
    applicant: Applicant<'_>,
    caller: &Caller,
) -> Result<()> {
    let email = account::email(applicant.email)?;
    match visitor(cx, applicant, caller).await? {
        Visitor::Known => {
            mailbox::start_code(cx, &email, Purpose::AddressCode).await?;
            Ok(())
        }
        Visitor::New(candidate) => mail_code(cx, &candidate).await,
        Visitor::Refused(candidate, error) => tell_refused(cx, &candidate, &error).await,
    }
}

/// Another plugin is asked before it is known whether there is an account: it may take its time, and that would tell.
async fn visitor(cx: &Cx<Auth>, applicant: Applicant<'_>, caller: &Caller) -> Result<Visitor> {
    if cx.plugin().config.sign_up == SignUp::Closed {
        return Ok(Visitor::Known);
    }
    let candidate = drafted(cx, applicant, None, caller).await?;
    let asked = ask(cx, &candidate, caller).await;
    let known = accounts::find_by_email(&cx.db(), &candidate.email).await?;
    Ok(match (known, asked) {
        (Some(_), _) => Visitor::Known,
        (None, Ok(())) => Visitor::New(candidate),
        (None, Err(error)) => Visitor::Refused(candidate, error),
    })
}

async fn mail_code(cx: &Cx<Auth>, candidate: &Candidate) -> Result<()> {
    if !throttle::may_mail(cx, &candidate.email).await? {
        return Ok(());
    }
    let subject = Subject {
        purpose: Purpose::AddressCode,
        target: &candidate.email,
        user_id: None,
        payload: json!({
            "email": candidate.email, "display_name": candidate.display_name, "locale": candidate.locale,
            "profile": candidate.profile,
        }),
    };
    let transaction = cx.db().begin().await?;
    if let Some((_, code)) = one_time::code(cx, &transaction, subject).await? {
        let (to, name) = (&candidate.email, &candidate.display_name);
        let mail = mailbox::code_mail(Purpose::AddressCode, to, name, &candidate.locale, &code);
        notify::post(&transaction, &mail).await?;
    }
    transaction.commit().await
}

/// What another plugin has against an account is for the holder of the mailbox. One that has failed says so there, too.
async fn tell_refused(cx: &Cx<Auth>, candidate: &Candidate, error: &Error) -> Result<()> {
    if error.status() >= 500 {
        let (code, cause) = (error.code(), error.cause().unwrap_or_default());
        warn!(code, cause, "nobody could say whether an account may begin");
    }
    if !throttle::may_mail(cx, &candidate.email).await? {
        return Ok(());
    }
    let mail = Mail {
        to: &candidate.email,
        template: "auth/sign-up-refused",
        language: &candidate.locale,
        variables: json!({"name": candidate.display_name, "reason": error.message()}),
    };
    notify::post(&cx.db(), &mail).await
}
