//! Passkeys: the two ceremonies, each begun by a challenge of ours that is good once and for five minutes.
//!
//! Passkeys are discoverable: the authenticator says whose they are, so signing in begins without an address, and no answer
//! tells whether one is known. A passkey does not oblige: an account that has some still takes its password alone, unless
//! a TOTP was enrolled; then a passkey answers the question for the second factor as well as a code does.

pub(crate) mod sign_up;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    capability::db::Transaction,
    jiff::Timestamp,
    prelude::*,
    serde_json::{Value, json},
    tracing::info,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Auth,
    account::User,
    caller::Caller,
    notify,
    one_time::{self, Purpose, Subject},
    problem,
    proof::{Proof, after_both_factors},
    session::{self, Tokens},
    store::{accounts, passkeys as store},
    webauthn::{
        self, ALGORITHMS, AuthenticationResponse, Refusal, Registered, RegistrationResponse,
        user_handle,
    },
};

/// Most passkeys of one person.
const PASSKEYS_MAX: usize = 10;

/// Bytes of a challenge that are chance (section 13.4.3 asks for 16 at least).
const CHALLENGE_BYTES: u32 = 32;

/// A ceremony that has begun.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Begun {
    /// Names it when its result is sent.
    pub flow_id: Uuid,
    /// `PublicKeyCredentialCreationOptionsJSON` or `PublicKeyCredentialRequestOptionsJSON` (Web Authentication Level 3).
    pub options: Value,
}

/// A passkey, as its owner sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// Names it when it is to be changed.
    pub id: Uuid,
    /// As its owner calls it.
    pub name: String,
    /// The authenticator's model, where it tells.
    pub aaguid: Uuid,
    /// Whether there are copies of it on other devices.
    pub is_backed_up: bool,
    /// How the authenticator is reached.
    pub transports: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub last_used_at: Option<Timestamp>,
}

/// A passkey that is shown as proof.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyProof {
    /// From the answer of `/auth/passkeys/login/options`.
    pub flow_id: Uuid,
    /// What the browser answered: `AuthenticationResponseJSON`.
    pub credential: AuthenticationResponse,
}

/// Whose passkey was shown.
pub(crate) struct Proved {
    pub(crate) user_id: Uuid,
    /// As RFC 8176 calls it: `hwk` for a key that cannot leave its device, `swk` for one that is copied to others.
    pub(crate) method: &'static str,
}

/// Whose passkey it will be, as the authenticator shows it.
struct Holder<'a> {
    id: Uuid,
    label: &'a str,
    display_name: &'a str,
}

/// Begins a registration.
pub(crate) async fn begin_registration(cx: &Cx<Auth>, user: &User) -> Result<Begun> {
    let known = store::descriptors(&cx.db(), user.id).await?;
    if known.len() >= PASSKEYS_MAX {
        return Err(too_many());
    }
    let target = user.id.to_string();
    let subject = Subject {
        purpose: Purpose::PasskeyRegistration,
        target: &target,
        user_id: Some(user.id),
        payload: json!({}),
    };
    let holder = Holder {
        id: user.id,
        label: user.email.as_deref().unwrap_or(&user.display_name),
        display_name: &user.display_name,
    };
    begin_creation(cx, subject, &holder, &known).await
}

async fn begin_creation(
    cx: &Cx<Auth>,
    subject: Subject<'_>,
    holder: &Holder<'_>,
    known: &[Descriptor],
) -> Result<Begun> {
    let timeout = milliseconds(subject.purpose);
    let (flow_id, challenge) = challenge(cx, subject).await?;
    let party = &cx.plugin().relying_party;
    let display_name = Some(holder.display_name).filter(|name| !name.is_empty());
    let parameters = ALGORITHMS.map(|alg| json!({"type": "public-key", "alg": alg}));
    let options = json!({
        "rp": {"id": party.id, "name": cx.plugin().config.app_name},
        "user": {
            "id": user_handle::write(holder.id),
            "name": holder.label, "displayName": display_name.unwrap_or(holder.label),
        },
        "challenge": challenge,
        "pubKeyCredParams": parameters,
        "timeout": timeout,
        "excludeCredentials": shown(known),
        "authenticatorSelection": {
            "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
        },
        "attestation": "none",
        "extensions": {"credProps": true},
    });
    Ok(Begun { flow_id, options })
}

/// Begins a sign-in, or a proof beside another one.
pub(crate) async fn begin_login(cx: &Cx<Auth>) -> Result<Begun> {
    begin_use(cx, &[]).await
}

/// Begins a fresh proof of somebody who is signed in: the browser offers their own passkeys and no others.
///
/// # Errors
///
/// `PASSKEY_NOT_FOUND` for who has none.
pub(crate) async fn begin_proof(cx: &Cx<Auth>, user_id: Uuid) -> Result<Begun> {
    let known = store::descriptors(&cx.db(), user_id).await?;
    if known.is_empty() {
        return Err(problem::no_passkey());
    }
    begin_use(cx, &known).await
}

async fn begin_use(cx: &Cx<Auth>, allowed: &[Descriptor]) -> Result<Begun> {
    let target = Uuid::now_v7().to_string();
    let subject = Subject {
        purpose: Purpose::PasskeyLogin,
        target: &target,
        user_id: None,
        payload: json!({}),
    };
    let (flow_id, challenge) = challenge(cx, subject).await?;
    let options = json!({
        "rpId": cx.plugin().relying_party.id,
        "challenge": challenge,
        "timeout": milliseconds(Purpose::PasskeyLogin),
        "allowCredentials": shown(allowed),
        "userVerification": "required",
    });
    Ok(Begun { flow_id, options })
}

/// Id of a credential, and how its authenticator is reached.
type Descriptor = (Vec<u8>, Vec<String>);

fn shown(descriptors: &[Descriptor]) -> Vec<Value> {
    let shown = descriptors.iter().map(|(id, transports)| {
        json!({"type": "public-key", "id": URL_SAFE_NO_PAD.encode(id), "transports": transports})
    });
    shown.collect()
}

/// A challenge that waits for its answer. The flow's id is its beginning: a client that knows no flows sends it back all the
/// same, in what the browser says of the page.
async fn challenge(cx: &Cx<Auth>, mut subject: Subject<'_>) -> Result<(Uuid, String)> {
    let random = cx.crypto().random(CHALLENGE_BYTES)?;
    subject.payload["challenge"] = json!(URL_SAFE_NO_PAD.encode(&random));
    let flow_id = one_time::flow(cx, subject).await?;
    // A flow whose tries are never counted is always replaced.
    let flow_id = flow_id.ok_or_else(problem::bad_passkey)?;
    Ok((flow_id, URL_SAFE_NO_PAD.encode(whole(flow_id, &random))))
}

fn whole(flow_id: Uuid, random: &[u8]) -> Vec<u8> {
    [flow_id.as_bytes(), random].concat()
}

/// The flow that a challenge of ours names; of any other one, a flow that nobody has begun.
pub(crate) fn flow_of(challenge: Result<Vec<u8>, Refusal>) -> Uuid {
    let challenge = challenge.unwrap_or_default();
    let id = challenge.get(..16).map(Uuid::from_slice);
    id.and_then(Result::ok).unwrap_or_default()
}

/// A flow's challenge, and what waited with it.
struct Awaited {
    user_id: Option<Uuid>,
    target: String,
    payload: Value,
    challenge: Vec<u8>,
}

/// The challenge of a flow, which is used up whatever comes of it.
async fn take_challenge(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    purpose: Purpose,
    flow_id: Uuid,
) -> Result<Option<Awaited>> {
    let used = one_time::take_flow(cx, transaction, purpose, flow_id).await?;
    Ok(used.and_then(|used| {
        let random = URL_SAFE_NO_PAD.decode(used.payload["challenge"].as_str()?);
        Some(Awaited {
            user_id: used.user_id,
            target: used.target,
            payload: used.payload,
            challenge: whole(flow_id, &random.ok()?),
        })
    }))
}

/// Verifies what the browser made, and keeps it.
///
/// # Errors
///
/// `PASSKEY_REFUSED` with the reason, `PASSKEY_KNOWN`, `PASSKEY_LIMIT`.
pub(crate) async fn finish_registration(
    cx: &Cx<Auth>,
    (principal, user): (&Principal, &User),
    flow_id: Uuid,
    name: &str,
    response: &RegistrationResponse,
    caller: &Caller,
) -> Result<Shown> {
    let user_id = principal.user()?;
    let transaction = cx.db().begin().await?;
    let taken = take_challenge(cx, &transaction, Purpose::PasskeyRegistration, flow_id).await?;
    let awaited = taken.filter(|awaited| awaited.user_id == Some(user_id));
    let registered = match registered(cx, awaited.as_ref(), response) {
        Ok(registered) => registered,
        Err(refusal) => {
            transaction.commit().await?;
            return Err(problem::passkey_refused(refusal));
        }
    };
    store::lock(&transaction, user_id).await?;
    if store::descriptors(&transaction, user_id).await?.len() >= PASSKEYS_MAX {
        transaction.commit().await?;
        return Err(too_many());
    }
    let now = cx.clock().now()?;
    let transports = response.transports();
    let shown = store::insert(&transaction, user_id, name, &transports, &registered, now).await?;
    if let Some(shown) = &shown {
        added(&transaction, user_id, shown).await?;
        notify::of_change(cx, &transaction, user, "auth/passkey-added", caller).await?;
    }
    session::must_go_on(&transaction, principal).await?;
    transaction.commit().await?;
    shown.ok_or_else(problem::passkey_known)
}

fn registered(
    cx: &Cx<Auth>,
    awaited: Option<&Awaited>,
    response: &RegistrationResponse,
) -> Result<Registered, Refusal> {
    let awaited = awaited.ok_or(Refusal::WrongChallenge)?;
    let party = &cx.plugin().relying_party;
    webauthn::register(party, &awaited.challenge, response, &verifier(cx))
}

async fn added(transaction: &Transaction, user_id: Uuid, shown: &Shown) -> Result<()> {
    let details = json!({"passkey_id": shown.id, "aaguid": shown.aaguid});
    accounts::audit(transaction, "auth.passkey_added", user_id, &details).await
}

/// Signs in by a passkey: the device, and whom it has verified, are two factors.
///
/// # Errors
///
/// `PASSKEY_INVALID`, the same for every reason.
pub(crate) async fn sign_in(
    cx: &Cx<Auth>,
    proof: &PasskeyProof,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<Tokens> {
    let transaction = cx.db().begin().await?;
    let proved = prove(cx, &transaction, proof).await?;
    transaction.commit().await?;
    let proved = proved.ok_or_else(problem::bad_passkey)?;
    let account = accounts::find_by_id(&cx.db(), proved.user_id)
        .await?
        .filter(|account| account.is_active)
        .ok_or_else(problem::bad_passkey)?;
    let amr = [proved.method, "mfa"];
    after_both_factors(cx, &account, Proof::double(&amr), family, caller).await
}

/// Whose passkey is shown, in a transaction that the caller commits whatever the answer is: the challenge is used up.
pub(crate) async fn prove(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    proof: &PasskeyProof,
) -> Result<Option<Proved>> {
    match verified(cx, transaction, proof).await? {
        Ok(proved) => Ok(Some(proved)),
        Err(refusal) => {
            info!(%refusal, "a passkey was refused");
            Ok(None)
        }
    }
}

async fn verified(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    proof: &PasskeyProof,
) -> Result<Result<Proved, Refusal>> {
    let taken = take_challenge(cx, transaction, Purpose::PasskeyLogin, proof.flow_id).await?;
    let Some(Awaited { challenge, .. }) = taken else {
        return Ok(Err(Refusal::WrongChallenge));
    };
    let credential_id = match proof.credential.credential_id() {
        Ok(credential_id) => credential_id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some((id, known)) = store::find(transaction, &credential_id).await? else {
        return Ok(Err(Refusal::NoCredential));
    };
    let party = &cx.plugin().relying_party;
    let verified = webauthn::assert(party, &challenge, &proof.credential, &known, &verifier(cx));
    let assertion = match verified {
        Ok(assertion) => assertion,
        Err(refusal) => return Ok(Err(refusal)),
    };
    store::used(transaction, id, &assertion, cx.clock().now()?).await?;
    if assertion.is_counter_behind {
        // Not a reason to lock somebody out: some authenticators count badly, and a thief's copy is seen once at most.
        let details = json!({
            "passkey_id": id, "stored": known.sign_count, "received": assertion.sign_count,
        });
        let action = "auth.passkey_counter_behind";
        accounts::audit(transaction, action, known.user_id, &details).await?;
    }
    Ok(Ok(Proved {
        user_id: known.user_id,
        method: method(known.is_backup_eligible),
    }))
}

const fn method(is_backup_eligible: bool) -> &'static str {
    if is_backup_eligible { "swk" } else { "hwk" }
}

/// The host's verification; what it cannot do is not verified.
fn verifier(cx: &Cx<Auth>) -> impl Fn(&Value, &[u8], &[u8]) -> bool + Sync {
    move |jwk, data, signature| cx.crypto().verify(jwk, data, signature).unwrap_or(false)
}

fn milliseconds(purpose: Purpose) -> i64 {
    purpose.lifetime().as_secs() * 1_000
}

fn too_many() -> Error {
    Error::conflict(
        "PASSKEY_LIMIT",
        format!("there are {PASSKEYS_MAX} passkeys already: remove one that is not used any more"),
    )
}
