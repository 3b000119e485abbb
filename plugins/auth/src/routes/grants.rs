//! `/oauth`: how a machine without a keyboard gets its tokens (RFC 8628), and renews them (RFC 6749, section 6).

use nself_plugin_api::{
    capability::db::Transaction,
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::json,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Auth,
    caller::Caller,
    device::{self, DEVICE_CODE_BYTES, INTERVAL_SECONDS, KINDS, PAIRING_LIFETIME},
    family, hooks,
    mac::Purpose,
    oauth::{Form, Outcome, Refusal, field},
    refresh::RefreshToken,
    secret,
    session::{self, Tokens},
    store::{
        device_codes::{self, Pairing, Status},
        devices,
        families::{self, Deed},
        sessions,
    },
    throttle::{self, Action},
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Longest client id.
const CLIENT_BYTES_MAX: usize = 100;

/// How often a user code is drawn anew because another machine has it: with a billion codes waiting, once is enough.
const DRAWS: usize = 4;

/// A machine that wants to be paired.
#[derive(Deserialize)]
pub(crate) struct Authorization {
    client_id: Option<String>,
    name: Option<String>,
    kind: Option<String>,
}

/// RFC 8628, section 3.2.
#[derive(Serialize)]
pub(crate) struct Authorized {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: i64,
    interval: i32,
}

pub(crate) async fn device_authorization(
    cx: Cx<Auth>,
    caller: Caller,
    Form(form): Form<Authorization>,
) -> Result<Outcome<Authorized>> {
    throttle::address(&cx, Action::Pairing, &caller).await?;
    Ok(Outcome(match form {
        Ok(form) => authorize(&cx, &form, &caller).await,
        Err(refusal) => Err(refusal),
    }))
}

async fn authorize(
    cx: &Cx<Auth>,
    form: &Authorization,
    caller: &Caller,
) -> Result<Authorized, Refusal> {
    let client_id = client(form.client_id.as_deref())?;
    let name = field(form.name.as_deref(), 800)?.unwrap_or(client_id);
    let name =
        family::name(name).map_err(|_| Refusal::request("name: expected 1 to 200 characters"))?;
    let kind = field(form.kind.as_deref(), 20)?.unwrap_or("other");
    if !KINDS.contains(&kind) {
        return Err(Refusal::request(
            "kind: expected tv, box, phone, tablet, computer, speaker or other",
        ));
    }
    let now = cx.clock().now()?;
    let device_code = secret::make(cx, Purpose::DeviceCode, DEVICE_CODE_BYTES)?;
    for _ in 0..DRAWS {
        let Some(user_code) = device::user_code(&cx.crypto().random(64)?) else {
            continue;
        };
        let new = device_codes::New {
            device_code_mac: &device_code.mac,
            user_code_mac: &secret::mac(cx, Purpose::UserCode, &user_code),
            client_id,
            name: &name,
            kind,
            caller,
            interval_seconds: INTERVAL_SECONDS,
            now,
            expires_at: now + PAIRING_LIFETIME,
        };
        if device_codes::insert(&cx.db(), &new).await? {
            let root = cx.plugin().config.public_url.trim_end_matches('/');
            let user_code = device::shown(&user_code);
            return Ok(Authorized {
                device_code: device_code.text,
                verification_uri: format!("{root}/auth/device"),
                verification_uri_complete: format!("{root}/auth/device?user_code={user_code}"),
                user_code,
                expires_in: PAIRING_LIFETIME.as_secs(),
                interval: INTERVAL_SECONDS,
            });
        }
    }
    let busy = Error::new(500, "INTERNAL", "something went wrong on our side");
    Err(busy.with_cause("no free user code was drawn").into())
}

fn client(client_id: Option<&str>) -> Result<&str, Refusal> {
    field(client_id, CLIENT_BYTES_MAX)?.ok_or(Refusal::request("client_id is missing"))
}

/// What a client asks the token endpoint for.
#[derive(Deserialize)]
pub(crate) struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<String>,
    device_code: Option<String>,
    refresh_token: Option<String>,
}

/// RFC 6749, section 5.1.
#[derive(Serialize)]
pub(crate) struct Granted {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: String,
}

impl From<Tokens> for Granted {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            token_type: tokens.token_type,
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh_token,
        }
    }
}

pub(crate) async fn token(
    cx: Cx<Auth>,
    caller: Caller,
    Form(form): Form<TokenRequest>,
) -> Result<Outcome<Granted>> {
    Ok(Outcome(match form {
        Ok(form) => grant(&cx, &form, &caller).await,
        Err(refusal) => Err(refusal),
    }))
}

async fn grant(cx: &Cx<Auth>, form: &TokenRequest, caller: &Caller) -> Result<Granted, Refusal> {
    let tokens = match field(form.grant_type.as_deref(), 100)? {
        None => return Err(Refusal::request("grant_type is missing")),
        Some(DEVICE_CODE) => {
            let code = field(form.device_code.as_deref(), 100)?
                .ok_or(Refusal::request("device_code is missing"))?;
            pair(cx, client(form.client_id.as_deref())?, code, caller).await?
        }
        Some("refresh_token") => {
            let token = field(form.refresh_token.as_deref(), 200)?
                .ok_or(Refusal::request("refresh_token is missing"))?;
            refresh(cx, client(form.client_id.as_deref())?, token, caller).await?
        }
        Some(_) => {
            return Err(Refusal::new(
                "unsupported_grant_type",
                "expected the device_code or the refresh_token grant",
            ));
        }
    };
    Ok(tokens.into())
}

/// The next tokens of a session. A machine's are its client's alone.
async fn refresh(
    cx: &Cx<Auth>,
    client_id: &str,
    token: &str,
    caller: &Caller,
) -> Result<Tokens, Refusal> {
    let read = RefreshToken::read(token, &cx.plugin().keys.macs).ok_or(Refusal::grant())?;
    let client = devices::client_of(&cx.db(), read.session).await?;
    if client.is_some_and(|client| client != client_id) {
        return Err(Refusal::grant());
    }
    let refreshed = session::refresh(cx, token, None, caller).await;
    refreshed.map_err(|error| match error.status() {
        401 => Refusal::grant(),
        _ => error.into(),
    })
}

/// What a machine that polls is told.
async fn pair(
    cx: &Cx<Auth>,
    client_id: &str,
    code: &str,
    caller: &Caller,
) -> Result<Tokens, Refusal> {
    let now = cx.clock().now()?;
    let macs = secret::macs(cx, Purpose::DeviceCode, code);
    let tx = cx.db().begin().await?;
    let pairing = alive(&tx, client_id, &macs, now).await?;
    let Some(device_id) = pairing.device_id else {
        let refusal = wait(&pairing, now);
        device_codes::polled(&tx, pairing.id, refusal.1, now).await?;
        tx.commit().await?;
        return Err(refusal.0);
    };
    let family_id = devices::hold(&tx, device_id).await?.ok_or_else(denied)?;
    // Nothing is held while another plugin thinks; what has changed meanwhile counts.
    drop(tx);
    hooks::before_device_sign_in(cx, device_id, family_id, caller).await?;
    let tx = cx.db().begin().await?;
    let pairing = alive(&tx, client_id, &macs, now).await?;
    let family_id = devices::hold(&tx, device_id).await?.ok_or_else(denied)?;
    let session_id = begin(cx, &tx, &pairing, (device_id, family_id), caller).await?;
    let read = sessions::read(&tx, session_id).await?;
    let (session, _) = read.ok_or(Refusal::grant())?;
    tx.commit().await?;
    Ok(session::first_tokens(cx, &session, None, now).await?)
}

/// The pairing of a client's code, if it can still end in a session.
async fn alive(
    tx: &Transaction,
    client_id: &str,
    macs: &Vec<Vec<u8>>,
    now: Timestamp,
) -> Result<Pairing, Refusal> {
    let pairing = device_codes::by_device_code(tx, macs)
        .await?
        .filter(|pairing| pairing.client_id == client_id && pairing.status != Status::Used)
        .ok_or(Refusal::grant())?;
    if pairing.status == Status::Denied {
        return Err(denied());
    }
    if pairing.expires_at <= now {
        return Err(Refusal::new(
            "expired_token",
            "nobody approved the code in time: begin anew",
        ));
    }
    Ok(pairing)
}

fn denied() -> Refusal {
    Refusal::new("access_denied", "the machine was not let in")
}

/// Come back later: at the same pace, or slower when this was too soon.
fn wait(pairing: &Pairing, now: Timestamp) -> (Refusal, i32) {
    let interval = SignedDuration::from_secs(pairing.interval_seconds.into());
    if pairing
        .polled_at
        .is_some_and(|polled_at| polled_at + interval > now)
    {
        let refusal = Refusal::new("slow_down", "asked too soon: wait five seconds longer");
        (refusal, pairing.interval_seconds + INTERVAL_SECONDS)
    } else {
        let refusal = Refusal::new("authorization_pending", "nobody has decided yet");
        (refusal, pairing.interval_seconds)
    }
}

/// Begins the machine's session, and uses the code up.
async fn begin(
    cx: &Cx<Auth>,
    tx: &Transaction,
    pairing: &Pairing,
    (device_id, family_id): (Uuid, Uuid),
    caller: &Caller,
) -> Result<Uuid> {
    let now = cx.clock().now()?;
    let config = &cx.plugin().config;
    device_codes::use_up(tx, pairing.id).await?;
    let new = devices::NewSession {
        device_id,
        family_id,
        client_id: &pairing.client_id,
        caller,
        now,
        idle_expiry: now + session::days(config.device_idle_days),
        absolute_expiry: now + session::days(config.device_days),
    };
    let session_id = devices::begin_session(tx, &new).await?;
    let deed = Deed {
        action: "auth.device_signed_in",
        family_id,
        target: session_id,
        details: json!({"device_id": device_id, "client_id": pairing.client_id}),
        actor: device_id,
    };
    families::audit(tx, &deed).await?;
    Ok(session_id)
}
