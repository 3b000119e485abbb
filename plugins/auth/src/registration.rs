//! How an account begins: with an address that is proved first, with one that is proved later, or without any.

pub(crate) mod by_mailbox;
pub(crate) mod by_passkey;

use nself_plugin_api::{
    capability::db::Transaction,
    jiff::Timestamp,
    prelude::*,
    serde_json::{self, Map, Value, json},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    Auth, SignUp, account,
    caller::Caller,
    hooks::{self, Origin, Way},
    invitation::Invited,
    landing::{Landing, Ticket},
    newcomer,
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    passkey::sign_up::NewPasskey,
    password::{self, Context},
    problem,
    proof::{Proof, SignedIn, after_first_factor},
    session::{self, Tokens},
    store::{
        accounts,
        sessions::{self, End},
    },
    throttle,
};

/// What the audit log says of an anonymous account that has an address from now on.
const UPGRADED: &str = "auth.account_upgraded";

/// Who wants an account.
pub(crate) struct Applicant<'a> {
    pub(crate) email: &'a str,
    /// None where the mailbox is all that somebody signs in with.
    pub(crate) password: Option<&'a str>,
    pub(crate) display_name: &'a str,
    pub(crate) locale: Option<&'a str>,
    /// What the app wants to keep of the person.
    pub(crate) profile: Map<String, Value>,
    /// The token of an invitation into a family.
    pub(crate) invitation: Option<&'a str>,
}

/// What registering leads to: a mail, or a session at once.
pub(crate) enum Registered {
    Mailed,
    SignedIn(Box<Tokens>),
}

/// An application whose parts are good.
struct Candidate {
    /// Accepted when the address is proved.
    invited: Option<Invited>,
    email: String,
    display_name: String,
    locale: String,
    password_hash: Option<String>,
    passkey: Option<NewPasskey>,
    profile: Value,
    /// The account that begins anew with it, where there is one already.
    user_id: Option<Uuid>,
}

/// What an application that waits for its address carries.
#[derive(Deserialize)]
struct Waiting {
    email: String,
    display_name: String,
    locale: String,
    password_hash: Option<String>,
    #[serde(default)]
    passkey: Option<NewPasskey>,
    #[serde(default)]
    profile: Option<Value>,
}

/// Makes an account, or mails what makes one.
///
/// # Errors
///
/// `SIGN_UP_CLOSED`; what is wrong with a part; what another plugin refuses it with; `EMAIL_TAKEN`, where addresses are no
/// secret.
pub(crate) async fn register(
    cx: &Cx<Auth>,
    applicant: Applicant<'_>,
    landing: Landing<'_>,
    caller: &Caller,
) -> Result<Registered> {
    let sign_up = cx.plugin().config.sign_up;
    if sign_up == SignUp::Closed && applicant.invitation.is_none() {
        return Err(problem::sign_up_closed());
    }
    let candidate = candidate(cx, applicant, None, caller).await?;
    admit(cx, &candidate, landing, caller).await
}

async fn admit(
    cx: &Cx<Auth>,
    candidate: &Candidate,
    landing: Landing<'_>,
    caller: &Caller,
) -> Result<Registered> {
    // Without a password and without a passkey the mailbox is the only proof there is.
    let has_proof = candidate.password_hash.is_some() || candidate.passkey.is_some();
    if cx.plugin().config.sign_up == SignUp::Open && has_proof {
        sign_up_at_once(cx, candidate, landing, caller).await
    } else {
        ask_for_proof(cx, candidate, landing).await?;
        Ok(Registered::Mailed)
    }
}

/// Checks the parts of an application, and asks whoever has a say in it. `user_id` is the anonymous account that it is for.
async fn candidate(
    cx: &Cx<Auth>,
    applicant: Applicant<'_>,
    user_id: Option<Uuid>,
    caller: &Caller,
) -> Result<Candidate> {
    let password = applicant.password;
    let mut candidate = drafted(cx, applicant, user_id, caller).await?;
    ask(cx, &candidate, caller).await?;
    if let Some(password) = password {
        let context = Context {
            email: Some(&candidate.email),
            name: Some(&candidate.display_name),
        };
        candidate.password_hash = Some(password::hash_new(cx, password, context).await?);
    }
    Ok(candidate)
}

/// The parts of an application, but for what it is proved by.
async fn drafted(
    cx: &Cx<Auth>,
    applicant: Applicant<'_>,
    user_id: Option<Uuid>,
    caller: &Caller,
) -> Result<Candidate> {
    let email = account::email(applicant.email)?;
    let invited = match applicant.invitation {
        Some(token) => Some(Invited::register(cx, token, &email).await?),
        None => None,
    };
    let display_name = account::display_name(applicant.display_name)?;
    let locale = match applicant.locale {
        Some(locale) => account::locale(locale)?.to_owned(),
        None => caller.language.clone(),
    };
    Ok(Candidate {
        invited,
        email,
        display_name,
        locale,
        password_hash: None,
        passkey: None,
        profile: newcomer::profile(applicant.profile)?,
        user_id,
    })
}

/// Asks whether another plugin has something against an account. Whether the address is taken is not known here: the answer
/// cannot tell it.
async fn ask(cx: &Cx<Auth>, candidate: &Candidate, caller: &Caller) -> Result<()> {
    let registration = hooks::Registration {
        way: Way::Address,
        email: Some(&candidate.email),
        display_name: &candidate.display_name,
        locale: &candidate.locale,
        provider: None,
        user_id: candidate.user_id,
        is_invited: candidate.invited.is_some(),
        from: Origin::caller(caller),
    };
    hooks::before_register(cx, &registration).await
}

/// Makes the account that has waited for its address.
///
/// # Errors
///
/// `CODE_INVALID` when none has waited.
pub(crate) async fn make_waiting(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    payload: Value,
) -> Result<Uuid> {
    let waiting = serde_json::from_value(payload).map_err(|_| problem::bad_code())?;
    make_account(cx, transaction, &waiting).await
}

/// There is no account before the address is proved, so there is none that a stranger could prepare for somebody else.
/// A taken address costs the same work and gets the same answer; its owner gets another mail.
async fn ask_for_proof(cx: &Cx<Auth>, candidate: &Candidate, landing: Landing<'_>) -> Result<()> {
    let is_taken = accounts::find_by_email(&cx.db(), &candidate.email)
        .await?
        .is_some();
    // Each registration has a link of its own: whoever clicks the one that was not theirs is the only one who could
    // take a stranger's password, and the mail says so.
    let target = candidate.user_id.unwrap_or_else(Uuid::now_v7).to_string();
    let subject = Subject {
        purpose: Purpose::VerifyEmail,
        target: &target,
        user_id: candidate.user_id,
        payload: json!({
            "email": candidate.email, "display_name": candidate.display_name, "locale": candidate.locale,
            "password_hash": candidate.password_hash, "passkey": candidate.passkey, "profile": candidate.profile,
            "upgrade": candidate.user_id.is_some(), "invited": candidate.invited,
        }),
    };
    let transaction = cx.db().begin().await?;
    let token = one_time::link(cx, &transaction, subject).await?;
    if let Some(token) = token.filter(|_| !is_taken) {
        mail_link(cx, &transaction, candidate, landing, &token).await?;
    } else if throttle::may_mail(cx, &candidate.email).await? {
        let mail = Mail {
            to: &candidate.email,
            template: "auth/account-exists",
            language: &candidate.locale,
            variables: json!({"link": cx.plugin().config.public_url}),
        };
        notify::post(&transaction, &mail).await?;
    }
    transaction.commit().await
}

async fn sign_up_at_once(
    cx: &Cx<Auth>,
    candidate: &Candidate,
    landing: Landing<'_>,
    caller: &Caller,
) -> Result<Registered> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let passkey = candidate.passkey.as_ref();
    let user = accounts::insert_as(
        &transaction,
        passkey.map_or_else(Uuid::now_v7, |passkey| passkey.user_id),
        Some(&candidate.email),
        &candidate.display_name,
        &candidate.locale,
    )
    .await?
    .ok_or_else(problem::email_taken)?;
    if let Some(hash) = &candidate.password_hash {
        accounts::set_password(&transaction, user.id, hash, now).await?;
    }
    if let Some(passkey) = passkey
        && !passkey.keep(&transaction, now).await?
    {
        return Err(problem::passkey_known());
    }
    accounts::set_profile(&transaction, user.id, &candidate.profile).await?;
    accounts::announce(&transaction, &user).await?;
    mail_proof(cx, &transaction, candidate, user.id, landing).await?;
    transaction.commit().await?;
    let method = passkey.map_or("pwd", NewPasskey::method);
    let amr = [method, "mfa"];
    let proof = match passkey {
        Some(_) => Proof::double(&amr),
        None => Proof::single(&amr[..1]),
    };
    let tokens = session::begin(cx, &user, proof, None, caller).await?;
    Ok(Registered::SignedIn(Box::new(tokens)))
}

/// Mails the link that proves the address of an account which is there already.
async fn mail_proof(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    candidate: &Candidate,
    user_id: Uuid,
    landing: Landing<'_>,
) -> Result<()> {
    let subject = Subject {
        purpose: Purpose::VerifyEmail,
        target: &candidate.email,
        user_id: Some(user_id),
        payload: json!({"email": candidate.email, "invited": candidate.invited}),
    };
    match one_time::link(cx, transaction, subject).await? {
        Some(token) => mail_link(cx, transaction, candidate, landing, &token).await,
        None => Ok(()),
    }
}

async fn mail_link(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    candidate: &Candidate,
    landing: Landing<'_>,
    token: &str,
) -> Result<()> {
    if !throttle::may_mail(cx, &candidate.email).await? {
        return Ok(());
    }
    let mail = Mail {
        to: &candidate.email,
        template: "auth/verify-email",
        language: &candidate.locale,
        variables: json!({
            "name": candidate.display_name, "link": landing.link(cx, Ticket::VerifyEmail, token),
            "expires_minutes": Purpose::VerifyEmail.lifetime().as_mins(),
        }),
    };
    notify::post(transaction, &mail).await
}

/// Makes an account that has neither address nor password. It is lost with its session, unless it is given both.
///
/// # Errors
///
/// `ANONYMOUS_DISABLED`; `SIGN_UP_CLOSED`.
pub(crate) async fn anonymous(
    cx: &Cx<Auth>,
    display_name: &str,
    locale: Option<&str>,
    profile: Map<String, Value>,
    caller: &Caller,
) -> Result<Tokens> {
    if !cx.plugin().config.anonymous_sign_in {
        return Err(Error::forbidden(
            "ANONYMOUS_DISABLED",
            "nobody signs in here without an account: register first",
        ));
    }
    if cx.plugin().config.sign_up == SignUp::Closed {
        return Err(problem::sign_up_closed());
    }
    let display_name = account::display_name(display_name)?;
    let locale = match locale {
        Some(locale) => account::locale(locale)?,
        None => &caller.language,
    };
    let profile = newcomer::profile(profile)?;
    let registration = hooks::Registration {
        way: Way::Anonymous,
        email: None,
        display_name: &display_name,
        locale,
        provider: None,
        user_id: None,
        is_invited: false,
        from: Origin::caller(caller),
    };
    hooks::before_register(cx, &registration).await?;
    let transaction = cx.db().begin().await?;
    let user = accounts::insert(&transaction, None, &display_name, locale)
        .await?
        .expect("nobody's address is nobody's twice");
    accounts::set_profile(&transaction, user.id, &profile).await?;
    accounts::announce(&transaction, &user).await?;
    transaction.commit().await?;
    let proof = Proof::single(&["anonymous"]);
    session::begin(cx, &user, proof, None, caller).await
}

/// What giving an anonymous account an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgraded {
    /// A mail: the account is what it was until the address is proved.
    Mailed,
    /// It can be signed in to from now on.
    AtOnce,
}

/// Gives an anonymous account an address, and a password; it keeps its id and all that belongs to it.
///
/// # Errors
///
/// `ACCOUNT_NOT_ANONYMOUS`; what is wrong with a part; `EMAIL_TAKEN`, where addresses are no secret.
pub(crate) async fn upgrade(
    cx: &Cx<Auth>,
    user_id: Uuid,
    email: &str,
    password: Option<&str>,
    landing: Landing<'_>,
    caller: &Caller,
) -> Result<Upgraded> {
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    if !account.user.is_anonymous {
        return Err(not_anonymous());
    }
    let applicant = Applicant {
        email,
        password,
        display_name: &account.user.display_name,
        locale: Some(&account.user.locale),
        profile: Map::new(),
        invitation: None,
    };
    let candidate = candidate(cx, applicant, Some(user_id), caller).await?;
    if cx.plugin().config.sign_up != SignUp::Open || candidate.password_hash.is_none() {
        ask_for_proof(cx, &candidate, landing).await?;
        return Ok(Upgraded::Mailed);
    }
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    take_address(&transaction, &candidate.email, user_id, None)
        .await?
        .ok_or_else(problem::email_taken)?;
    if let Some(hash) = &candidate.password_hash {
        accounts::set_password(&transaction, user_id, hash, now).await?;
    }
    accounts::audit(&transaction, UPGRADED, user_id, &json!({})).await?;
    mail_proof(cx, &transaction, &candidate, user_id, landing).await?;
    transaction.commit().await?;
    Ok(Upgraded::AtOnce)
}

/// Makes an anonymous account one with an address; `None` when somebody has it, or the account is anonymous no more.
async fn take_address(
    transaction: &Transaction,
    email: &str,
    user_id: Uuid,
    verified_at: Option<Timestamp>,
) -> Result<Option<()>> {
    let is_named = accounts::name_anonymous(transaction, user_id, email, verified_at).await?;
    Ok(is_named.then_some(()))
}

/// Proves an address by a link, and signs in: whoever holds the link holds the mailbox. An account that waited for the proof
/// begins now.
///
/// # Errors
///
/// `CODE_INVALID`.
pub(crate) async fn prove(cx: &Cx<Auth>, token: &str, caller: &Caller) -> Result<SignedIn> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(cx, transaction, Purpose::VerifyEmail, token).await?;
    let invited = Invited::read(&used.payload);
    let is_new = used.user_id.is_none();
    let user_id = match used.user_id {
        Some(user_id) if used.payload["upgrade"] == true => {
            let waiting = serde_json::from_value(used.payload).map_err(Error::internal)?;
            finish_upgrade(cx, &transaction, user_id, &waiting).await?;
            user_id
        }
        Some(user_id) => {
            let email = used.payload["email"].as_str().unwrap_or_default();
            accounts::verify_email(&transaction, user_id, email, now).await?;
            accounts::audit(&transaction, "auth.email_verified", user_id, &json!({})).await?;
            user_id
        }
        None => {
            let waiting = serde_json::from_value(used.payload).map_err(Error::internal)?;
            make_account(cx, &transaction, &waiting).await?
        }
    };
    if let Some(invited) = invited {
        let may_do_without = !is_new || cx.plugin().config.sign_up != SignUp::Closed;
        invited
            .join_on_proof(cx, &transaction, user_id, may_do_without, now)
            .await?;
    }
    transaction.commit().await?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    after_first_factor(cx, &account, "otp", None, caller).await
}

/// Makes the account of a registration whose address is proved now. An account that somebody else had made with the
/// address and never proved is taken over, without anything that they put into it.
async fn make_account(cx: &Cx<Auth>, transaction: &Transaction, waiting: &Waiting) -> Result<Uuid> {
    let now = cx.clock().now()?;
    let email = waiting.email.as_str();
    let passkey = waiting.passkey.as_ref();
    let user = accounts::insert_as(
        transaction,
        passkey.map_or_else(Uuid::now_v7, |passkey| passkey.user_id),
        Some(email),
        &waiting.display_name,
        &waiting.locale,
    )
    .await?;
    let user_id = if let Some(user) = user {
        accounts::announce(transaction, &user).await?;
        // One that was made for this account's id is no key to another account, which is the case below.
        if let Some(passkey) = passkey {
            passkey.keep(transaction, now).await?;
        }
        user.id
    } else {
        let taken = accounts::find_by_email(transaction, email).await?;
        let taken = taken
            .filter(|account| !account.user.is_email_verified && account.is_active)
            .ok_or_else(problem::bad_code)?;
        take_over(transaction, taken.user.id, now).await?;
        taken.user.id
    };
    if let Some(profile) = &waiting.profile {
        accounts::set_profile(transaction, user_id, profile).await?;
    }
    accounts::verify_email(transaction, user_id, email, now).await?;
    if let Some(hash) = &waiting.password_hash {
        accounts::set_password(transaction, user_id, hash, now).await?;
    }
    accounts::audit(transaction, "auth.email_verified", user_id, &json!({})).await?;
    Ok(user_id)
}

/// The address of an anonymous account is proved now. Its sessions end, so that nobody who began it is still in it when it
/// is another one's.
async fn finish_upgrade(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    user_id: Uuid,
    waiting: &Waiting,
) -> Result<()> {
    let now = cx.clock().now()?;
    take_address(transaction, &waiting.email, user_id, Some(now))
        .await?
        .ok_or_else(problem::bad_code)?;
    if let Some(hash) = &waiting.password_hash {
        accounts::set_password(transaction, user_id, hash, now).await?;
    }
    sessions::revoke_others(transaction, user_id, None, End::of("upgraded", now)).await?;
    accounts::audit(transaction, UPGRADED, user_id, &json!({})).await?;
    accounts::audit(transaction, "auth.email_verified", user_id, &json!({})).await
}

/// Empties an account whose address was never proved, for the one who proves it.
pub(crate) async fn take_over(
    transaction: &Transaction,
    user_id: Uuid,
    now: Timestamp,
) -> Result<()> {
    accounts::strip(transaction, user_id).await?;
    sessions::revoke_others(transaction, user_id, None, End::of("taken_over", now)).await?;
    accounts::audit(
        transaction,
        "auth.unproved_access_removed",
        user_id,
        &json!({}),
    )
    .await
}

fn not_anonymous() -> Error {
    Error::conflict(
        "ACCOUNT_NOT_ANONYMOUS",
        "this account has an address already",
    )
}
