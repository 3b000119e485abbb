//! Which kinds there are, and who works them: followed while plugins come and go.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    pin::pin,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use nself_plugin_api::{
    futures_util::future::{self, Either},
    prelude::{Cx, Result},
    tracing::warn,
    wake::Wake,
};

use crate::{
    Jobs,
    observed::KindMetrics,
    push::{Endpoint, Key},
    store::{self, kinds::Known as KindRow},
};

/// Longest time without a look at the table, which other hosts change too.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Pauses of jobs whose plugin does not run: while plugins come and go, and after that.
const AWAY_PAUSE: Duration = Duration::from_secs(1);
const AWAY_PAUSE_LONG: Duration = Duration::from_secs(15);
const COMING_AND_GOING: Duration = Duration::from_secs(30);
/// Pause after the table could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Who works a kind.
pub(crate) enum Source {
    /// A plugin of this host.
    Handler,
    /// An endpoint.
    Endpoint(Arc<Endpoint>),
    /// A plugin that does not run now: its jobs wait for it.
    Away,
}

/// What the engine knows of a kind.
pub(crate) struct Kind {
    /// Who works it.
    pub source: Source,
    /// The queue that its jobs wait in, unless they name another.
    pub queue: i16,
    /// Time for one attempt.
    pub timeout: Duration,
    /// Whether completed jobs leave a row, when that is all that their end asks for.
    pub is_kept: Option<bool>,
    /// What is counted of it.
    pub observed: Arc<KindMetrics>,
}

/// The kinds that are known here.
#[derive(Default)]
pub(crate) struct Kinds {
    known: RwLock<Option<Known>>,
    changed: Wake,
}

/// They, when they were asked for, and since when it is these that are worked.
struct Known {
    kinds: HashMap<String, Arc<Kind>>,
    asked_at: Instant,
    since: Instant,
}

impl Known {
    fn worked(&self) -> BTreeSet<&str> {
        let worked = self.kinds.iter().filter(|(_, kind)| kind.is_worked());
        worked.map(|(name, _)| &**name).collect()
    }
}

impl Kind {
    /// Whether somebody works it here now.
    pub(crate) fn is_worked(&self) -> bool {
        !matches!(self.source, Source::Away)
    }
}

impl Kinds {
    fn known(&self) -> RwLockReadGuard<'_, Option<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a kind; none when nobody has ever said that they work it.
    pub(crate) fn get(&self, kind: &str) -> Option<Arc<Kind>> {
        self.known().as_ref()?.kinds.get(kind).cloned()
    }

    /// Whether the kinds have been read: before that no job can be judged.
    pub(super) fn are_known(&self) -> bool {
        self.known().is_some()
    }

    /// How long the jobs of a plugin wait that does not run: a moment while plugins come and go, such as at the start, and
    /// longer when it seems to stay away.
    pub(super) fn away_pause(&self) -> Duration {
        match self.known().as_ref() {
            Some(known) if known.since.elapsed() > COMING_AND_GOING => AWAY_PAUSE_LONG,
            _ => AWAY_PAUSE,
        }
    }

    /// Reads the table again soon: somebody changed it.
    pub(crate) fn look(&self) {
        self.changed.wake();
    }

    /// Whether they were asked for after a moment.
    fn are_of(&self, moment: Instant) -> bool {
        self.known()
            .as_ref()
            .is_some_and(|known| known.asked_at >= moment)
    }

    fn replace(&self, kinds: HashMap<String, Arc<Kind>>, asked_at: Instant) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = Known {
            kinds,
            asked_at,
            since: Instant::now(),
        };
        match known.as_ref() {
            // An older answer that came later.
            Some(old) if old.asked_at > asked_at => return,
            Some(old) if old.worked() == new.worked() => new.since = old.since,
            _ => {}
        }
        *known = Some(new);
    }
}

/// Follows what plugins declare and what stands in the table.
pub(super) async fn follow(cx: Cx<Jobs>) -> Result<()> {
    let tasks = cx.tasks();
    let mut draining = pin!(tasks.draining());
    let (mut seen, mut is_changed) = (0, true);
    loop {
        let pause = match read(&cx, is_changed).await {
            Ok(()) => {
                is_changed = false;
                LOOK_EVERY
            }
            Err(error) => {
                warn!(error = %error, cause = error.cause(), "the kinds of jobs cannot be read");
                TROUBLE_PAUSE
            }
        };
        let (handlers, clock) = (cx.handlers(), cx.clock());
        let declared = pin!(handlers.changed(seen));
        let told = pin!(cx.plugin().engine.kinds.changed.wait());
        let late = pin!(clock.sleep(pause));
        let reason = future::select(declared, future::select(told, late));
        match future::select(draining.as_mut(), reason).await {
            Either::Left(_) => return Ok(()),
            Either::Right((Either::Left((generation, _)), _)) => {
                seen = generation?;
                is_changed = true;
            }
            Either::Right((Either::Right((Either::Left(_), _)), _)) => is_changed = true,
            Either::Right((Either::Right((Either::Right(_), _)), _)) => {}
        }
    }
}

/// The kind of a job that was claimed at a moment. A kind that is not known then is asked for, once for all that was claimed
/// before the answer: whoever works it may have come since the last look, and its jobs faster than that was heard of.
pub(super) async fn of_claimed(
    cx: &Cx<Jobs>,
    kind: &str,
    claimed_at: Instant,
) -> Option<Arc<Kind>> {
    let kinds = &cx.plugin().engine.kinds;
    let known = kinds.get(kind);
    if known.is_some() || kinds.are_of(claimed_at) {
        return known;
    }
    if let Err(error) = read(cx, false).await {
        warn!(error = %error, cause = error.cause(), "the kinds of jobs cannot be read");
    }
    kinds.get(kind)
}

/// Somebody has changed a kind over this host, which knows it from now on; others hear of it.
pub(crate) async fn reread(cx: &Cx<Jobs>) {
    if let Err(error) = read(cx, true).await {
        warn!(error = %error, cause = error.cause(), "the kinds of jobs cannot be read");
        cx.plugin().engine.kinds.look();
    }
}

/// Reads the table, after what is declared was written into it: when something is said to have changed, or it is not there.
async fn read(cx: &Cx<Jobs>, is_changed: bool) -> Result<()> {
    let asked_at = Instant::now();
    let declared = cx.handlers().list()?;
    let db = cx.db();
    let handled: HashSet<&str> = declared
        .iter()
        .flat_map(|plugin| plugin.jobs.iter().map(|job| &*job.kind))
        .collect();
    let mut known = store::kinds::all(&db).await?;
    let written: HashSet<&str> = known.iter().map(|known| &*known.kind).collect();
    if is_changed || !handled.is_subset(&written) {
        for plugin in declared.iter().filter(|plugin| !plugin.jobs.is_empty()) {
            store::kinds::declare(&db, &plugin.plugin, &plugin.jobs).await?;
        }
        known = store::kinds::all(&db).await?;
    }
    let kinds = known.into_iter().map(|mut known| {
        let source = if handled.contains(&*known.kind) {
            Source::Handler
        } else {
            endpoint(cx, &mut known).unwrap_or(Source::Away)
        };
        let kind = Kind {
            source,
            queue: known.queue,
            timeout: Duration::from_millis(u64::try_from(known.timeout_ms).unwrap_or(1)),
            is_kept: (!known.is_announced).then_some(known.keep == "all"),
            observed: cx.plugin().observed.kind(cx, &known.kind),
        };
        (known.kind, Arc::new(kind))
    });
    let engine = &cx.plugin().engine;
    let is_first = !engine.kinds.are_known();
    engine.kinds.replace(kinds.collect(), asked_at);
    if is_first {
        engine.look();
    }
    Ok(())
}

/// The endpoint of a kind, if it has one.
fn endpoint(cx: &Cx<Jobs>, known: &mut KindRow) -> Option<Source> {
    let (url, sealed) = known.endpoint.take()?;
    match Key::open(cx, &known.kind, &sealed) {
        Ok(key) => Some(Source::Endpoint(Arc::new(Endpoint { url, key }))),
        Err(error) => {
            let kind = &*known.kind;
            warn!(kind, error = %error, "the secret of an endpoint cannot be opened: give the kind a new one");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_claimed_after_the_kinds_were_asked_for_is_asked_for_once_more_and_what_was_before_is_not()
     {
        let kinds = Kinds::default();
        let asked_at = Instant::now();
        let (before, after) = (
            asked_at
                .checked_sub(Duration::from_secs(1))
                .unwrap_or(asked_at),
            asked_at + Duration::from_secs(1),
        );
        assert!(!kinds.are_known() && !kinds.are_of(asked_at));
        kinds.replace(HashMap::new(), asked_at);
        assert!(kinds.are_of(before) && kinds.are_of(asked_at));
        assert!(!kinds.are_of(after));
        // An answer that was asked for earlier and came later says nothing new.
        kinds.replace(HashMap::new(), after);
        kinds.replace(HashMap::new(), asked_at);
        assert!(kinds.are_of(after));
    }
}
