//! `POST /auth/register`.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::Deserialize;

use super::{Accepted, Private};
use crate::{
    Auth, SignUp, account,
    caller::Caller,
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    password::{self, Context},
    proof::Proof,
    session::{self, Tokens},
    store::accounts,
    throttle::{self, Action},
};

/// Who wants an account.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// Where mail reaches them.
    #[schema(max_length = 320)]
    pub email: String,
    /// Eight characters at least; none of those that are tried first.
    #[schema(max_length = 512)]
    pub password: String,
    /// As others will see them.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub display_name: String,
    /// BCP 47 language tag; the request's own without it.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
}

/// What registering leads to: a mail, or a session at once.
pub(crate) enum Registered {
    Mailed,
    SignedIn(Box<Tokens>),
}

impl Respond for Registered {
    fn respond(self) -> Result<Response> {
        match self {
            Self::Mailed => Accepted("verification_mail_sent").respond(),
            Self::SignedIn(tokens) => Private(Created(*tokens)).respond(),
        }
    }
}

/// A registration whose parts are good.
pub(crate) struct Candidate {
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) locale: String,
    pub(crate) password_hash: String,
}

pub(crate) async fn register(
    cx: Cx<Auth>,
    caller: Caller,
    Json(registration): Json<Registration>,
) -> Result<Registered> {
    throttle::address(&cx, Action::SignUp, &caller).await?;
    let candidate = candidate(&cx, registration, &caller).await?;
    match cx.plugin().config.sign_up {
        SignUp::Private => ask_for_proof(&cx, candidate).await,
        SignUp::Open => sign_up_at_once(&cx, candidate, &caller).await,
        SignUp::Closed => Err(Error::forbidden(
            "SIGN_UP_CLOSED",
            "accounts are made by invitation here: ask a member of your family for one",
        )),
    }
}

async fn candidate(
    cx: &Cx<Auth>,
    registration: Registration,
    caller: &Caller,
) -> Result<Candidate> {
    let email = account::email(&registration.email)?;
    let display_name = account::display_name(&registration.display_name)?;
    let context = Context {
        email: Some(&email),
        name: Some(&display_name),
    };
    let password_hash = password::hash_new(cx, &registration.password, context).await?;
    Ok(Candidate {
        email,
        display_name,
        locale: registration
            .locale
            .unwrap_or_else(|| caller.language.clone()),
        password_hash,
    })
}

/// There is no account before the address is proved, so there is none that a stranger could prepare for somebody else.
/// A taken address costs the same work and gets the same answer; its owner gets another mail.
async fn ask_for_proof(cx: &Cx<Auth>, candidate: Candidate) -> Result<Registered> {
    let is_taken = accounts::find_by_email(&cx.db(), &candidate.email)
        .await?
        .is_some();
    // Each registration has a link of its own: whoever clicks the one that was not theirs is the only one who could
    // take a stranger's password, and the mail says so.
    let target = uuid::Uuid::now_v7().to_string();
    let subject = Subject {
        purpose: Purpose::VerifyEmail,
        target: &target,
        user_id: None,
        payload: json!({
            "email": candidate.email, "display_name": candidate.display_name, "locale": candidate.locale,
            "password_hash": candidate.password_hash,
        }),
    };
    let token = one_time::link(cx, subject).await?;
    if let Some(token) = token.filter(|_| !is_taken) {
        mail_link(cx, &candidate, &token).await?;
    } else if throttle::may_mail(cx, &candidate.email).await? {
        let mail = Mail {
            to: &candidate.email,
            template: "auth/account-exists",
            language: &candidate.locale,
            variables: json!({"link": cx.plugin().config.public_url}),
        };
        notify::send(cx, mail);
    }
    Ok(Registered::Mailed)
}

async fn sign_up_at_once(
    cx: &Cx<Auth>,
    candidate: Candidate,
    caller: &Caller,
) -> Result<Registered> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let user = accounts::insert(
        &transaction,
        Some(&candidate.email),
        &candidate.display_name,
        &candidate.locale,
    )
    .await?
    .ok_or_else(|| {
        Error::conflict(
            "EMAIL_TAKEN",
            "email: there is an account with this address; sign in, or ask for a new password",
        )
    })?;
    accounts::set_password(&transaction, user.id, &candidate.password_hash, now).await?;
    accounts::announce(&transaction, &user).await?;
    transaction.commit().await?;
    let subject = Subject {
        purpose: Purpose::VerifyEmail,
        target: &candidate.email,
        user_id: Some(user.id),
        payload: json!({"email": candidate.email}),
    };
    if let Some(token) = one_time::link(cx, subject).await? {
        mail_link(cx, &candidate, &token).await?;
    }
    let proof = Proof {
        amr: &["pwd"],
        has_two_factors: false,
    };
    let tokens = session::begin(cx, &user, proof, None, caller).await?;
    Ok(Registered::SignedIn(Box::new(tokens)))
}

async fn mail_link(cx: &Cx<Auth>, candidate: &Candidate, token: &str) -> Result<()> {
    if !throttle::may_mail(cx, &candidate.email).await? {
        return Ok(());
    }
    let mail = Mail {
        to: &candidate.email,
        template: "auth/verify-email",
        language: &candidate.locale,
        variables: json!({
            "name": candidate.display_name, "link": notify::page(cx, "/auth/verify-email", token),
            "expires_minutes": Purpose::VerifyEmail.lifetime().as_mins(),
        }),
    };
    notify::send(cx, mail);
    Ok(())
}
