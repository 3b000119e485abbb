//! What is still true of who is connected. A token says who somebody was when it was made; the family may have changed its mind
//! since, and the session may have ended. Both are looked at for as long as the connection lasts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use nself_plugin_api::{
    futures_util,
    prelude::*,
    tracing::{info, warn},
};
use uuid::Uuid;

use crate::{
    Stream, leaving,
    protocol::{Disconnect, Unsubscribe},
    session::Session,
    store::members::{self, Member},
};

/// What a family says of somebody: nothing, or the role, which who is no member any more has none of.
type Said = Option<Option<Role>>;

/// Pause in which more come, while many do.
const GATHERING: Duration = Duration::from_millis(5);
/// Such pauses before the database is asked about all who have come: a fifth of a second, where so many come that
/// all of them wait longer for the processor.
const PAUSES_MAX: usize = 40;

/// Who has just come, and is to be asked about. There is one question at a time, about all who came meanwhile: when thousands come back
/// at once, the database is asked a few times.
#[derive(Default)]
pub(crate) struct Arrivals {
    waiting: Mutex<Vec<(Key, Arc<OnceLock<Said>>)>>,
    /// About how many the last one was.
    question: futures_util::lock::Mutex<usize>,
}

impl Arrivals {
    fn waiting(&self) -> MutexGuard<'_, Vec<(Key, Arc<OnceLock<Said>>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, cx: &Cx<Stream>, key: Key) -> Result<Said> {
        let mine = Arc::new(OnceLock::new());
        self.waiting().push((key, Arc::clone(&mine)));
        let mut last = self.question.lock().await;
        if let Some(said) = mine.get() {
            return Ok(*said);
        }
        if *last > 1 {
            self.gather(cx).await?;
        }
        let mut asked = std::mem::take(&mut *self.waiting());
        // Whoever was to ask for this one has failed, or went away.
        if !asked.iter().any(|(_, slot)| Arc::ptr_eq(slot, &mine)) {
            asked.push((key, Arc::clone(&mine)));
        }
        *last = asked.len();
        let members = look_up(cx, asked.iter().map(|(key, _)| *key)).await?;
        for (key, slot) in &asked {
            // Nobody else has filled it: there is one question at a time.
            let _ = slot.set(members.get(key).copied());
        }
        Ok(members.get(&key).copied())
    }

    /// Waits while more come: a question takes less time than a storm of clients, so there would be hundreds of questions in one.
    async fn gather(&self, cx: &Cx<Stream>) -> Result<()> {
        let mut amount = self.waiting().len();
        for _ in 0..PAUSES_MAX {
            cx.clock().sleep(GATHERING).await?;
            let now = self.waiting().len();
            if now == amount {
                break;
            }
            amount = now;
        }
        Ok(())
    }
}

/// The principal of a token, less what its family has taken away since.
pub(crate) async fn of_one(cx: &Cx<Stream>, mut principal: Principal) -> Result<Principal> {
    if principal.family_id.is_none() {
        return Ok(principal);
    }
    let said = cx.plugin().arrivals.ask(cx, key(&principal)).await?;
    if let Some(changed) = said {
        principal.role = changed;
        if principal.role.is_none() {
            principal.family_id = None;
            principal.member_id = None;
        }
    }
    Ok(principal)
}

/// Compares everybody on this host with the families that they speak for, and ends what they may not have any more.
pub(crate) async fn check_families(cx: &Cx<Stream>, sessions: &[Arc<Session>]) -> Result<()> {
    let known = sessions.iter().filter_map(|session| {
        let (key, role) = session.with_principal(|one| (key(one), one.role))?;
        (!key.0.is_nil()).then_some((session, key, role))
    });
    let known: Vec<(&Arc<Session>, Key, Option<Role>)> = known.collect();
    if known.is_empty() {
        return Ok(());
    }
    let mut said: Vec<_> = known.iter().map(|(_, key, role)| (*key, *role)).collect();
    said.sort_unstable_by_key(|(key, role)| (*key, role.map(Role::name)));
    said.dedup();
    let mut asked = members::Said::default();
    for ((family, id), role) in said {
        asked.families.push(family);
        asked.people.push(id);
        asked.roles.push(role.map_or("", Role::name));
    }
    // Nearly always of nobody.
    let changed = by_key(members::changed(&cx.db(), asked).await?);
    for (session, key, before) in known {
        if let Some(role) = changed.get(&key).filter(|role| **role != before) {
            info!(client = %session.client, "what somebody connected may do has changed");
            let lost = session.change(*role);
            leaving::unsubscribe(cx, session, &lost, Unsubscribe::SERVER);
        }
    }
    Ok(())
}

/// Checks what is left of all tokens, and sends those away whose session has ended.
pub(crate) fn check_tokens(cx: &Cx<Stream>, sessions: &[Arc<Session>]) {
    for session in sessions {
        let Some(receipt) = session.receipt() else {
            continue;
        };
        let Err(error) = cx.tokens().check(&receipt) else {
            continue;
        };
        match error.code() {
            // The client comes again at once, with a newer one.
            "TOKEN_OUTDATED" => session.outlet.close(Disconnect::EXPIRED),
            _ if error.status() == 401 => session.outlet.close(Disconnect::INVALID_TOKEN),
            _ => warn!(%error, "tokens of connections cannot be checked"),
        }
    }
}

type Key = (Uuid, Uuid);

/// Family, and person or device.
fn key(principal: &Principal) -> Key {
    let who = principal.user_id.or(principal.device_id);
    (
        principal.family_id.unwrap_or_default(),
        who.unwrap_or_default(),
    )
}

/// What the families say of these, as far as they say anything: who is not known there is who its token says.
async fn look_up(
    cx: &Cx<Stream>,
    keys: impl Iterator<Item = Key>,
) -> Result<HashMap<Key, Option<Role>>> {
    let mut keys: Vec<Key> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    let (families, people): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    Ok(by_key(members::of(&cx.db(), families, people).await?))
}

fn by_key(members: Vec<Member>) -> HashMap<Key, Option<Role>> {
    let said = members.into_iter().map(|member| {
        let Member {
            family_id,
            id,
            role,
        } = member;
        let role = role.and_then(|role| {
            let known = Role::ALL.iter().copied();
            known.into_iter().find(|known| known.name() == role)
        });
        ((family_id, id), role)
    });
    said.collect()
}
