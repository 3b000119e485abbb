//! Tokens that were granted, kept in memory until shortly before they expire.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nself_plugin_api::{prelude::Cx, serde_json::Value};
use sha2::{Digest as _, Sha256};

use super::grant::{self, Granted};
use crate::{Orchestrator, engine::Error as Fault};

/// Tokens that are kept.
const TOKENS_MAX: usize = 1_000;
/// A token is not used any more so long before it expires: the request takes its time.
const MARGIN: Duration = Duration::from_secs(10);

/// The tokens of one host, by what they were granted for.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<[u8; 32], Kept>>);

struct Kept {
    token: String,
    until: Duration,
    /// What the next one is asked for with.
    refresh: Option<String>,
}

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secrets among the fields stay out of what is kept.
fn key(fields: &Value, is_oidc: bool) -> [u8; 32] {
    Sha256::digest(format!("{is_oidc} {fields}")).into()
}

/// A token for these fields, and whether it had been granted before.
pub(super) async fn token(
    cx: &Cx<Orchestrator>,
    fields: &Value,
    is_oidc: bool,
) -> Result<(String, bool), Fault> {
    let key = key(fields, is_oidc);
    let now = cx.clock().monotonic();
    let now = now.map_err(|error| super::failed(&error))?;
    let tokens = &cx.plugin().tokens;
    let refresh = match tokens.lock().get(&key) {
        Some(kept) if kept.until > now => return Ok((kept.token.clone(), true)),
        kept => kept.and_then(|kept| kept.refresh.clone()),
    };
    let granted = match refresh {
        None => grant::ask(cx, fields, is_oidc, None).await?,
        Some(refresh) => {
            if let Ok(granted) = grant::ask(cx, fields, is_oidc, Some(&refresh)).await {
                Granted {
                    refresh: granted.refresh.or(Some(refresh)),
                    ..granted
                }
            } else {
                // It is over, too: from the beginning.
                tokens.lock().remove(&key);
                grant::ask(cx, fields, is_oidc, None).await?
            }
        }
    };
    let mut known = tokens.lock();
    if known.len() >= TOKENS_MAX {
        known.retain(|_, kept| kept.until > now);
        if known.len() >= TOKENS_MAX {
            known.clear();
        }
    }
    let kept = Kept {
        token: granted.token.clone(),
        until: now + granted.lasts.saturating_sub(MARGIN),
        refresh: granted.refresh,
    };
    known.insert(key, kept);
    Ok((granted.token, false))
}

/// A token that is refused is not used again.
pub(super) fn forget(cx: &Cx<Orchestrator>, fields: &Value, is_oidc: bool) {
    if let Some(kept) = cx.plugin().tokens.lock().get_mut(&key(fields, is_oidc)) {
        kept.until = Duration::ZERO;
    }
}
