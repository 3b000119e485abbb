//! The plugin's keys: those that sign access tokens, and how they take over from one another.
//!
//! `next -> active -> retiring -> gone`. A key is published a day before it signs, because verifiers ask for the key set
//! at their own pace (Hasura by our `max-age`), and stays published until the last token that it signed has expired.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use nself_plugin_api::{
    capability::{crypto::Algorithm, db::Transaction},
    jiff::Timestamp,
    prelude::*,
    serde_json::{Value, json},
    tracing::info,
};
use uuid::Uuid;

use crate::{
    config::Config,
    mac::{BYTES, MacKeys},
    store::{
        audit::{self, New},
        keys as store,
    },
};

/// How long a verifier may keep the key set.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(300);

/// How long a key is published before it signs.
const LEAD: Duration = Duration::from_secs(24 * 3_600);

/// How far a verifier's clock may be behind.
const SKEW: Duration = Duration::from_secs(60);

/// Who turns keys that nobody was asked to turn, for the audit log.
const BY_AGE: &str = "auth.keys";

/// Context of sealed MAC keys.
const MAC_CONTEXT: &[u8] = b"auth.mac_keys";

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Published, signs later.
    Next,
    /// Signs.
    Active,
    /// Signs no more, still verifies.
    Retiring,
}

impl State {
    pub(crate) fn read(text: &str) -> Result<Self> {
        match text {
            "next" => Ok(Self::Next),
            "active" => Ok(Self::Active),
            "retiring" => Ok(Self::Retiring),
            other => Err(broken(format!("signing key state {other}"))),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }
}

/// A signing key as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) jwk: Value,
    pub(crate) sealed: String,
    pub(crate) state: State,
    pub(crate) published_at: Timestamp,
    pub(crate) active_at: Option<Timestamp>,
    pub(crate) retired_at: Option<Timestamp>,
}

impl Key {
    /// The public part as it is published (RFC 7517): with `kid`, `alg` and `use`, which some verifiers insist on.
    fn public(&self) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm);
        jwk["use"] = json!("sig");
        jwk
    }
}

/// The keys in force.
pub(crate) struct Ring {
    keys: Vec<Key>,
    active: usize,
    jwks: Value,
    /// The key set as it is served.
    pub(crate) jwks_text: Box<str>,
}

impl Ring {
    fn new(keys: Vec<Key>) -> Result<Self> {
        let active = keys
            .iter()
            .position(|key| key.state == State::Active)
            .ok_or_else(|| broken("no signing key is active"))?;
        let jwks = json!({"keys": keys.iter().map(Key::public).collect::<Vec<_>>()});
        Ok(Self {
            active,
            keys,
            jwks_text: jwks.to_string().into(),
            jwks,
        })
    }

    /// The key that signs.
    pub(crate) fn active(&self) -> &Key {
        &self.keys[self.active]
    }

    /// All keys that are published.
    pub(crate) fn all(&self) -> &[Key] {
        &self.keys
    }
}

/// The plugin's keys, replaced as a whole when they turn.
pub(crate) struct Keys {
    ring: RwLock<Arc<Ring>>,
    /// What authenticates what the plugin hands out.
    pub(crate) macs: MacKeys,
}

impl Keys {
    /// Reads the keys; makes the first ones.
    pub(crate) async fn open(context: &Context, config: &Config) -> Result<Self> {
        let transaction = context.db().begin().await?;
        store::lock(&transaction).await?;
        let macs = mac_keys(context, &transaction).await?;
        let keys = turned(context, &transaction, config, Turn::WhenDue, BY_AGE).await?;
        transaction.commit().await?;
        let ring = Ring::new(keys)?;
        accept(context, config, &ring)?;
        Ok(Self {
            ring: RwLock::new(Arc::new(ring)),
            macs,
        })
    }

    /// The keys in force.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Turns the keys if that is due, and takes over what is stored.
    pub(crate) async fn turn_by_age(&self, context: &Context, config: &Config) -> Result<()> {
        self.turn(context, config, Turn::WhenDue, BY_AGE).await
    }

    /// As [`Self::turn_by_age`], or because somebody has asked for it.
    pub(crate) async fn turn(
        &self,
        context: &Context,
        config: &Config,
        turn: Turn,
        actor: &str,
    ) -> Result<()> {
        let transaction = context.db().begin().await?;
        store::lock(&transaction).await?;
        let keys = turned(context, &transaction, config, turn, actor).await?;
        transaction.commit().await?;
        self.take(context, config, keys)
    }

    /// Takes over what another host has stored.
    pub(crate) async fn reload(&self, context: &Context, config: &Config) -> Result<()> {
        let keys = store::signing_keys(&context.db()).await?;
        self.take(context, config, keys)
    }

    fn take(&self, context: &Context, config: &Config, keys: Vec<Key>) -> Result<()> {
        let ring = Ring::new(keys)?;
        if ring.jwks != self.ring().jwks {
            accept(context, config, &ring)?;
        }
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        Ok(())
    }
}

/// When the keys turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// By their age.
    WhenDue,
    /// A new key is published now, and signs a day later.
    Prepare,
    /// A new key signs now. Whoever holds an older key set refuses its tokens until it asks for the new one.
    Now,
}

/// What has to be done with the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Publish,
    Promote,
    Nothing,
}

/// The next step, from the keys' ages alone.
fn next_step(keys: &[Key], key_life: Duration, now: Timestamp, turn: Turn) -> Step {
    let active = keys.iter().find(|key| key.state == State::Active);
    let next = keys.iter().find(|key| key.state == State::Next);
    let passed = |since: Timestamp, time: Duration| {
        now.duration_since(since).unsigned_abs() >= time && now >= since
    };
    match (active, next) {
        (None, None) => Step::Publish,
        (None, Some(_)) => Step::Promote,
        (Some(_), Some(next)) if turn == Turn::Now || passed(next.published_at, LEAD) => {
            Step::Promote
        }
        (Some(active), None) => {
            let since = active.active_at.unwrap_or(active.published_at);
            if turn != Turn::WhenDue || passed(since, key_life.saturating_sub(LEAD)) {
                Step::Publish
            } else {
                Step::Nothing
            }
        }
        (Some(_), Some(_)) => Step::Nothing,
    }
}

/// Does what is due; the keys afterwards. The caller holds the lock.
async fn turned(
    context: &Context,
    transaction: &Transaction,
    config: &Config,
    mut turn: Turn,
    actor: &str,
) -> Result<Vec<Key>> {
    let now = context.clock().now()?;
    let key_life = Duration::from_secs(u64::from(config.key_days) * 24 * 3_600);
    let buried = store::bury(transaction, now - published_after_retirement(config)).await?;
    for kid in &buried {
        note(transaction, actor, "auth.signing_key_gone", kid, &json!({})).await?;
    }
    let mut changed = !buried.is_empty();
    loop {
        let keys = store::signing_keys(transaction).await?;
        let of = |state| keys.iter().find(|key| key.state == state);
        let (active, next) = (of(State::Active), of(State::Next));
        match next_step(&keys, key_life, now, turn) {
            Step::Nothing => {
                if changed {
                    store::announce(transaction).await?;
                }
                return Ok(keys);
            }
            Step::Publish => {
                let kid = publish(context, transaction, config, now).await?;
                // The first one comes with the installation and takes over from none.
                if active.is_some() {
                    let algorithm = json!({"algorithm": Algorithm::from(config.algorithm).name()});
                    let action = "auth.signing_key_published";
                    note(transaction, actor, action, &kid, &algorithm).await?;
                }
                if turn == Turn::Prepare {
                    turn = Turn::WhenDue;
                }
            }
            Step::Promote => {
                store::promote(transaction, now).await?;
                if let (Some(before), Some(next)) = (active, next) {
                    let details = json!({"in_place_of": before.kid});
                    let action = "auth.signing_key_promoted";
                    note(transaction, actor, action, &next.kid, &details).await?;
                }
                info!("another key signs access tokens");
                // What was asked for is done; a second turn would promote the next key, too.
                turn = Turn::WhenDue;
            }
        }
        changed = true;
    }
}

async fn note(
    transaction: &Transaction,
    actor: &str,
    action: &'static str,
    kid: &str,
    details: &Value,
) -> Result<()> {
    let entry = New {
        actor,
        action,
        target: kid,
        details,
        family_id: None,
    };
    audit::append(transaction, &entry).await
}

/// How long a key that signs no more must be published: until its last token has expired for the slowest clock.
fn published_after_retirement(config: &Config) -> Duration {
    let longest = config.access_minutes.max(config.access_minutes_privileged);
    Duration::from_secs(u64::from(longest) * 60) + SKEW + MAX_AGE
}

async fn publish(
    context: &Context,
    transaction: &Transaction,
    config: &Config,
    now: Timestamp,
) -> Result<String> {
    let algorithm = Algorithm::from(config.algorithm);
    let pair = context.crypto().generate_key(algorithm).await?;
    let kid = Uuid::now_v7().simple().to_string();
    store::publish(
        transaction,
        &kid,
        algorithm.name(),
        &pair.jwk,
        &pair.sealed,
        now,
    )
    .await?;
    Ok(kid)
}

/// Hands the public keys to the host, which verifies tokens for all plugins.
fn accept(context: &Context, config: &Config, ring: &Ring) -> Result<()> {
    context
        .identity()
        .set_keys(&ring.jwks, &config.public_url, &[&config.public_url])
}

async fn mac_keys(context: &Context, transaction: &Transaction) -> Result<MacKeys> {
    let mut stored = store::mac_keys(transaction).await?;
    if stored.is_empty() {
        let key = context.crypto().random(32)?;
        let sealed = BASE64.encode(context.crypto().seal(&key, MAC_CONTEXT)?);
        let id = store::add_mac_key(transaction, &sealed, context.clock().now()?).await?;
        stored.push((id, sealed));
    }
    let opened = stored.into_iter().map(|(id, sealed)| {
        let sealed = BASE64.decode(sealed).map_err(Error::internal)?;
        let key = context.crypto().open(&sealed, MAC_CONTEXT)?;
        let key: [u8; BYTES] = key[..].try_into().map_err(Error::internal)?;
        Ok((u8::try_from(id).map_err(Error::internal)?, key))
    });
    Ok(MacKeys::new(opened.collect::<Result<_>>()?))
}

fn broken(what: impl Into<String>) -> Error {
    Error::new(500, "INTERNAL", "something went wrong on our side").with_cause(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);
    const LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);

    fn key(state: State, days_ago: u32) -> Key {
        let at = Timestamp::UNIX_EPOCH + LIFE * 10 - DAY * days_ago;
        Key {
            kid: "k".into(),
            algorithm: "ES256".into(),
            jwk: json!({}),
            sealed: String::new(),
            state,
            published_at: at,
            active_at: (state == State::Active).then_some(at),
            retired_at: None,
        }
    }

    #[track_caller]
    fn check(keys: &[Key], turn: Turn, expected: Step) {
        let now = Timestamp::UNIX_EPOCH + LIFE * 10;
        assert_eq!(next_step(keys, LIFE, now, turn), expected);
    }

    #[test]
    fn keys_take_over_from_one_another_by_age() {
        use State::{Active, Next};
        use Turn::WhenDue;
        check(&[], WhenDue, Step::Publish);
        check(&[key(Next, 0)], WhenDue, Step::Promote);
        check(&[key(Active, 28)], WhenDue, Step::Nothing);
        check(&[key(Active, 29)], WhenDue, Step::Publish);
        check(&[key(Active, 29), key(Next, 0)], WhenDue, Step::Nothing);
        check(&[key(Active, 30), key(Next, 1)], WhenDue, Step::Promote);
    }

    #[test]
    fn an_operator_turns_them_earlier() {
        use State::{Active, Next};
        check(&[key(Active, 1)], Turn::Prepare, Step::Publish);
        check(
            &[key(Active, 1), key(Next, 0)],
            Turn::Prepare,
            Step::Nothing,
        );
        check(&[key(Active, 1)], Turn::Now, Step::Publish);
        check(&[key(Active, 1), key(Next, 0)], Turn::Now, Step::Promote);
    }
}
