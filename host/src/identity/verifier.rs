//! From a request's credentials to a principal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::claims::{Claims, EXP_MAX};
use super::revocations::{Revocations, Standing};
use super::ring::Ring;
use super::{
    ApiKey, ApiKeyError, KEY_PREFIX, KeyError, KeySet, Kind, NewApiKey, Principal, api_key,
};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Passes that are good at once; the oldest goes when another one is given out.
const PASSES_MAX: usize = 64;

/// Tells the time; tests pass their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What a verifier starts with.
pub struct VerifierSettings {
    /// Keys from the configuration.
    pub keys: Vec<KeySet>,
    /// API keys from the configuration.
    pub api_keys: Vec<ApiKey>,
    /// How far the issuer's clock may differ from ours. Default 5 s.
    pub leeway: Duration,
    /// Verified tokens that are remembered. Default 4,096.
    pub cache_max: usize,
    /// Tells the time.
    pub clock: Clock,
}

impl Default for VerifierSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            api_keys: Vec::new(),
            leeway: Duration::from_secs(5),
            cache_max: 4_096,
            clock: Arc::new(SystemTime::now),
        }
    }
}

/// Why credentials were refused. The texts go to the caller: they say what to do, and nothing about keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The header is not one that the host understands.
    #[error("send one credential: `Authorization: Bearer <token>` or `x-api-key: <key>`")]
    Malformed,
    /// The token does not verify.
    #[error("the access token is not valid here: sign in again")]
    Invalid,
    /// The token was good once.
    #[error("the access token has expired: refresh it")]
    Expired,
    /// The session has ended.
    #[error("the session has ended: sign in again")]
    Revoked,
    /// What the session may do has changed since the token was signed.
    #[error("the access token is out of date: refresh it")]
    Outdated,
    /// No such API key.
    #[error("the api key is unknown: check it, or ask the operator for a new one")]
    UnknownKey,
}

impl IdentityError {
    /// The stable code of the answer.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "CREDENTIALS_MALFORMED",
            Self::Invalid => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Revoked => "SESSION_REVOKED",
            Self::Outdated => "TOKEN_OUTDATED",
            Self::UnknownKey => "API_KEY_UNKNOWN",
        }
    }
}

/// A verified token, and under which ring it was.
#[derive(Clone)]
struct Verified {
    generation: u64,
    key: u64,
    principal: Arc<Principal>,
}

/// What is to be known of a token that was verified, to say later whether it is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The key that signed it, by its number.
    pub key: u64,
    /// Its session, if it has one.
    pub session_id: Option<Uuid>,
    /// How often what the session may do had changed when it was signed.
    pub epoch: u32,
}

/// Verifies tokens and API keys. One per process, shared by all listeners; nothing here waits.
pub struct Verifier {
    ring: ArcSwap<Ring>,
    /// Held while a ring is replaced: two plugins that set keys at once must not lose one another's.
    replacing: Mutex<()>,
    api_keys: ArcSwap<Vec<ApiKey>>,
    /// Keys that nobody keeps, and when they end.
    passes: Mutex<Vec<(ApiKey, SystemTime)>>,
    revocations: Revocations,
    /// By SHA-256 of the whole token: a weaker hash would let one token be taken for another.
    verified: Cache<[u8; 32], Verified>,
    leeway: Duration,
    clock: Clock,
}

impl Verifier {
    /// A verifier with the configuration's keys.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when a configured key set is not usable.
    pub fn new(settings: VerifierSettings) -> Result<Self, KeyError> {
        let mut ring = Ring::default();
        for (number, set) in settings.keys.into_iter().enumerate() {
            ring = ring.with(&format!("configuration {number}"), Some(set))?;
        }
        Ok(Self {
            ring: ArcSwap::from_pointee(ring),
            replacing: Mutex::new(()),
            api_keys: ArcSwap::from_pointee(settings.api_keys),
            passes: Mutex::default(),
            revocations: Revocations::default(),
            verified: Cache::new(settings.cache_max),
            leeway: settings.leeway,
            clock: settings.clock,
        })
    }

    /// Replaces the keys that `plugin` registered; requests that are being verified finish with the old ones.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the set is not usable; the old keys stay in force.
    pub fn set_keys(&self, plugin: &str, set: KeySet) -> Result<(), KeyError> {
        self.replace(plugin, Some(set))
    }

    /// Forgets the keys of a plugin that was disabled; its tokens stop working at once.
    ///
    /// # Errors
    ///
    /// Never in practice: the remaining sets were read before.
    pub fn remove_keys(&self, plugin: &str) -> Result<(), KeyError> {
        self.replace(plugin, None)
    }

    fn replace(&self, plugin: &str, set: Option<KeySet>) -> Result<(), KeyError> {
        let _alone = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load().with(plugin, set)?;
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    /// Replaces the API keys, as after a reload of the configuration.
    pub fn set_api_keys(&self, keys: Vec<ApiKey>) {
        self.api_keys.store(Arc::new(keys));
    }

    /// An operator's key that is good for requests which begin within `lifetime`: for whoever has shown in another way that
    /// they run this host. `subject` is who that was, for the logs.
    ///
    /// # Errors
    ///
    /// Never in practice: a fresh digest is well-formed.
    pub fn pass(&self, subject: &str, lifetime: Duration) -> Result<NewApiKey, ApiKeyError> {
        let new = NewApiKey::generate();
        let key = ApiKey::new(subject, Kind::Operator, &new.sha256, &[])?;
        let now = (self.clock)();
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        passes.retain(|(_, until)| *until > now);
        if passes.len() == PASSES_MAX {
            passes.remove(0);
        }
        passes.push((key, now + lifetime));
        Ok(new)
    }

    /// Refuses the tokens of a session from now on; `until` is when the last of them expires.
    pub fn revoke(&self, session_id: Uuid, until: SystemTime) {
        let until = self.last_use(until);
        self.revocations.end(session_id, until, (self.clock)());
    }

    /// Refuses the tokens of a session that are older than `epoch` from now on, and no newer ones; `until` is when the
    /// last of them expires.
    pub fn refuse_older(&self, session_id: Uuid, epoch: u32, until: SystemTime) {
        let until = self.last_use(until);
        self.revocations
            .refuse_older(session_id, epoch, until, (self.clock)());
    }

    /// A number that rises whenever tokens that were good may be so no longer, other than by expiring.
    pub fn changes(&self) -> u64 {
        self.revocations
            .changes()
            .wrapping_add(self.ring.load().generation)
    }

    /// When a token that expires at `until` is refused for its age at last.
    fn last_use(&self, until: SystemTime) -> SystemTime {
        until.checked_add(self.leeway).unwrap_or(until)
    }

    /// Who the request's headers say is calling: nobody, a principal, or credentials that do not hold.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when there are credentials and they are no good.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Option<Arc<Principal>>, IdentityError> {
        let mut tokens = headers.get_all(AUTHORIZATION).iter();
        let mut keys = headers.get_all("x-api-key").iter();
        match (tokens.next(), keys.next()) {
            (None, None) => return Ok(None),
            (Some(token), None) if tokens.next().is_none() => self.bearer(token.as_bytes()),
            (None, Some(key)) if keys.next().is_none() => {
                self.api_key(key.to_str().map_err(|_| IdentityError::Malformed)?)
            }
            // Two credentials: whichever we chose, somebody before or behind us may choose the other.
            _ => return Err(IdentityError::Malformed),
        }
        .map(Some)
    }

    fn bearer(&self, header: &[u8]) -> Result<Arc<Principal>, IdentityError> {
        let (scheme, token) = header.split_at_checked(7).ok_or(IdentityError::Malformed)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(IdentityError::Malformed);
        }
        let token =
            std::str::from_utf8(token.trim_ascii()).map_err(|_| IdentityError::Malformed)?;
        if token.starts_with(KEY_PREFIX) {
            self.api_key(token)
        } else {
            self.verify(token)
        }
    }

    fn api_key(&self, key: &str) -> Result<Arc<Principal>, IdentityError> {
        api_key::find(&self.api_keys.load(), key)
            .or_else(|| self.passed(key))
            .ok_or(IdentityError::UnknownKey)
    }

    fn passed(&self, key: &str) -> Option<Arc<Principal>> {
        let now = (self.clock)();
        let passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let good = passes.iter().filter(|(_, until)| *until > now);
        let keys: Vec<ApiKey> = good.map(|(key, _)| key.clone()).collect();
        drop(passes);
        api_key::find(&keys, key)
    }

    /// Verifies an access token: also for the first message of a socket, which has no header.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] says which of the checks failed, as far as the caller may know.
    pub fn verify(&self, token: &str) -> Result<Arc<Principal>, IdentityError> {
        Ok(self.verified(token, true)?.principal)
    }

    /// The same of a token that comes once, and what to [check](Self::check) later in its place. It is not remembered: thousands of
    /// connections would push the tokens of requests out.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn receive(&self, token: &str) -> Result<(Arc<Principal>, Receipt), IdentityError> {
        let Verified { key, principal, .. } = self.verified(token, false)?;
        let receipt = Receipt {
            key,
            session_id: principal.session_id,
            epoch: principal.epoch,
        };
        Ok((principal, receipt))
    }

    /// Whether the token of a receipt is still good, unless it has expired, which its bearer knew from the beginning.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Revoked`] when its session has ended, [`IdentityError::Outdated`] when what the session may do has changed, or
    /// its key is out of force: whoever signs in by a newer key gets another one.
    pub fn check(&self, receipt: &Receipt) -> Result<(), IdentityError> {
        self.session_is_good(receipt.session_id, receipt.epoch, (self.clock)())?;
        if self.ring.load().holds(receipt.key) {
            Ok(())
        } else {
            Err(IdentityError::Outdated)
        }
    }

    fn verified(&self, token: &str, is_remembered: bool) -> Result<Verified, IdentityError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::Invalid);
        }
        let now = (self.clock)();
        let ring = self.ring.load();
        let hash = sha256(token);
        let known = self
            .verified
            .get(&hash)
            .filter(|verified| verified.generation == ring.generation);
        let verified = if let Some(verified) = known {
            verified
        } else {
            let verified = self.read(&ring, token, now)?;
            if is_remembered {
                self.verified.insert(hash, verified.clone());
            }
            verified
        };
        self.still_good(&verified.principal, now)?;
        Ok(verified)
    }

    fn read(&self, ring: &Ring, token: &str, now: SystemTime) -> Result<Verified, IdentityError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| IdentityError::Invalid)?;
        let kind = header.typ.as_deref().unwrap_or("JWT");
        if header.crit.is_some()
            || !["JWT", "at+jwt", "application/at+jwt"]
                .iter()
                .any(|t| t.eq_ignore_ascii_case(kind))
        {
            return Err(IdentityError::Invalid);
        }
        let key = ring
            .find(header.kid.as_deref())
            .ok_or(IdentityError::Invalid)?;
        let data = jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation)
            .map_err(|_| IdentityError::Invalid)?;
        let not_before = Duration::from_secs(data.claims.nbf.unwrap_or_default().min(EXP_MAX));
        if now + self.leeway < SystemTime::UNIX_EPOCH + not_before {
            return Err(IdentityError::Invalid);
        }
        let principal = data.claims.into_principal();
        Ok(Verified {
            generation: ring.generation,
            key: key.number,
            principal: Arc::new(principal.map_err(|_| IdentityError::Invalid)?),
        })
    }

    /// What can change after a token was verified: time passes and sessions end.
    fn still_good(&self, principal: &Principal, now: SystemTime) -> Result<(), IdentityError> {
        // Every token has a date; one without it would be trusted for ever.
        let expires_at = principal.expires_at.ok_or(IdentityError::Invalid)?;
        if now >= expires_at + self.leeway {
            return Err(IdentityError::Expired);
        }
        self.session_is_good(principal.session_id, principal.epoch, now)
    }

    fn session_is_good(
        &self,
        session_id: Option<Uuid>,
        epoch: u32,
        now: SystemTime,
    ) -> Result<(), IdentityError> {
        let Some(session_id) = session_id else {
            return Ok(());
        };
        match self.revocations.standing(session_id, epoch, now) {
            Standing::Good => Ok(()),
            Standing::Ended => Err(IdentityError::Revoked),
            Standing::Outdated => Err(IdentityError::Outdated),
        }
    }
}

fn sha256(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_pass_is_an_operators_and_ends() {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let told = Arc::clone(&seconds);
        let clock: Clock = Arc::new(move || {
            SystemTime::UNIX_EPOCH + Duration::from_secs(told.load(Ordering::Relaxed))
        });
        let settings = VerifierSettings {
            clock,
            ..VerifierSettings::default()
        };
        let verifier = Verifier::new(settings).expect("without keys nothing can be wrong");
        let pass = verifier.pass("control", Duration::from_secs(60));
        let pass = pass.expect("a fresh digest is well-formed");
        let holder = |key: &str| {
            let principal = verifier.api_key(key)?;
            Ok((principal.kind, principal.subject.to_string()))
        };
        assert_eq!(
            holder(&pass.secret),
            Ok((Kind::Operator, "control".to_owned()))
        );
        assert_eq!(holder("nsk_another"), Err(IdentityError::UnknownKey));
        seconds.store(1_060, Ordering::Relaxed);
        assert_eq!(holder(&pass.secret), Err(IdentityError::UnknownKey));
    }
}
