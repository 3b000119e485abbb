//! Passkeys: the two ceremonies, each begun by a challenge of ours that is good once and for five minutes.
//!
//! Passkeys are discoverable: the authenticator says whose they are, so signing in begins without an address, and no answer
//! tells whether one is known. A passkey does not oblige: an account that has some still takes its password alone, unless
//! a TOTP was enrolled; then a passkey answers the question for the second factor as well as a code does.

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
    one_time::{self, Purpose, Subject},
    problem, session,
    store::{accounts, passkeys as store},
    webauthn::{self, ALGORITHMS, AuthenticationResponse, Refusal, RegistrationResponse},
};

/// Most passkeys of one person.
const PASSKEYS_MAX: usize = 10;

/// Bytes of a challenge (section 13.4.3 asks for 16 at least).
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

/// Begins a registration.
pub(crate) async fn begin_registration(cx: &Cx<Auth>, user: &User) -> Result<Begun> {
    let known = store::descriptors(&cx.db(), user.id).await?;
    if known.len() >= PASSKEYS_MAX {
        return Err(too_many());
    }
    let excluded: Vec<Value> = known
        .iter()
        .map(|(id, transports)| {
            json!({"type": "public-key", "id": URL_SAFE_NO_PAD.encode(id), "transports": transports})
        })
        .collect();
    let target = user.id.to_string();
    let (flow_id, challenge) =
        challenge(cx, Purpose::PasskeyRegistration, &target, Some(user.id)).await?;
    let party = &cx.plugin().relying_party;
    let label = user.email.as_deref().unwrap_or(&user.display_name);
    let display_name = Some(user.display_name.as_str()).filter(|name| !name.is_empty());
    let parameters = ALGORITHMS.map(|alg| json!({"type": "public-key", "alg": alg}));
    let options = json!({
        "rp": {"id": party.id, "name": cx.plugin().config.app_name},
        "user": {
            "id": URL_SAFE_NO_PAD.encode(user.id.as_bytes()),
            "name": label, "displayName": display_name.unwrap_or(label),
        },
        "challenge": challenge,
        "pubKeyCredParams": parameters,
        "timeout": milliseconds(Purpose::PasskeyRegistration),
        "excludeCredentials": excluded,
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
    let target = Uuid::now_v7().to_string();
    let (flow_id, challenge) = challenge(cx, Purpose::PasskeyLogin, &target, None).await?;
    let options = json!({
        "rpId": cx.plugin().relying_party.id,
        "challenge": challenge,
        "timeout": milliseconds(Purpose::PasskeyLogin),
        "allowCredentials": [],
        "userVerification": "required",
    });
    Ok(Begun { flow_id, options })
}

/// A challenge that waits for its answer.
async fn challenge(
    cx: &Cx<Auth>,
    purpose: Purpose,
    target: &str,
    user_id: Option<Uuid>,
) -> Result<(Uuid, String)> {
    let challenge = URL_SAFE_NO_PAD.encode(cx.crypto().random(CHALLENGE_BYTES)?);
    let subject = Subject {
        purpose,
        target,
        user_id,
        payload: json!({"challenge": challenge}),
    };
    let flow_id = one_time::flow(cx, subject).await?;
    // A flow whose tries are never counted is always replaced.
    let flow_id = flow_id.ok_or_else(problem::bad_passkey)?;
    Ok((flow_id, challenge))
}

/// The challenge of a flow, which is used up whatever comes of it.
async fn take_challenge(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    purpose: Purpose,
    flow_id: Uuid,
) -> Result<Option<(Option<Uuid>, Vec<u8>)>> {
    let used = one_time::take_flow(cx, transaction, purpose, flow_id).await?;
    Ok(used.and_then(|used| {
        let challenge = used.payload["challenge"].as_str()?;
        Some((used.user_id, URL_SAFE_NO_PAD.decode(challenge).ok()?))
    }))
}

/// Verifies what the browser made, and keeps it.
///
/// # Errors
///
/// `PASSKEY_REFUSED` with the reason, `PASSKEY_KNOWN`, `PASSKEY_LIMIT`.
pub(crate) async fn finish_registration(
    cx: &Cx<Auth>,
    principal: &Principal,
    flow_id: Uuid,
    name: &str,
    response: &RegistrationResponse,
) -> Result<Shown> {
    let user_id = principal.user()?;
    let transaction = cx.db().begin().await?;
    let taken = take_challenge(cx, &transaction, Purpose::PasskeyRegistration, flow_id).await?;
    let challenge = taken.filter(|(owner, _)| *owner == Some(user_id));
    let verified = match &challenge {
        Some((_, challenge)) => {
            let party = &cx.plugin().relying_party;
            webauthn::register(party, challenge, response, &verifier(cx))
        }
        None => Err(Refusal::WrongChallenge),
    };
    let registered = match verified {
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
        let details = json!({"passkey_id": shown.id, "aaguid": shown.aaguid});
        accounts::audit(&transaction, "auth.passkey_added", user_id, &details).await?;
    }
    session::must_go_on(&transaction, principal).await?;
    transaction.commit().await?;
    shown.ok_or_else(|| Error::conflict("PASSKEY_KNOWN", "this passkey is registered already"))
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
    let Some((_, challenge)) = taken else {
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
    let method = if known.is_backup_eligible {
        "swk"
    } else {
        "hwk"
    };
    Ok(Ok(Proved {
        user_id: known.user_id,
        method,
    }))
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
