//! The presence: a session whose lock, and a row whose time, say that this host lives. It also brings back what the
//! database knows and this host does not: work that woke nobody, and jobs that somebody wants to end.

use std::{pin::pin, time::Duration};

use nself_plugin_api::{
    capability::db::Transaction,
    futures_util::future::{self, Either},
    prelude::{Cx, Result},
    tracing::{debug, info, warn},
    uuid::Uuid,
};

use crate::{Jobs, store};

/// How often the row is written: an idle host asks the database for little else. One that is not seen for 5 s is dead when its
/// lock is free, so that a host whose session broke has half of that for coming back.
const EVERY: Duration = Duration::from_millis(2_500);
/// Pause before another try to reach the database.
const TROUBLE_PAUSE: Duration = Duration::from_millis(250);

/// Says that this host lives until the plugin has ended.
pub(super) async fn run(cx: Cx<Jobs>) -> Result<()> {
    let mut registered = None;
    while !cx.plugin().engine.endings.is_closed() {
        if let Err(error) = live(&cx, &mut registered).await {
            debug!(error = %error, "the database does not hear that this host lives");
        }
        let clock = cx.clock();
        clock.sleep(TROUBLE_PAUSE).await?;
    }
    Ok(())
}

/// A host that is on the list: its id, and the number of its lock.
#[derive(Clone, Copy)]
struct Registered {
    id: Uuid,
    lock: i32,
}

/// One session. It ends when the session breaks, when this host was taken for dead, and when the plugin ends.
async fn live(cx: &Cx<Jobs>, registered: &mut Option<Registered>) -> Result<()> {
    let engine = &cx.plugin().engine;
    let session = cx.db().connection().await?;
    let host = match *registered {
        Some(host) => host,
        None => *registered.insert(register(&session).await?),
    };
    let mut is_locked = false;
    while !engine.endings.is_closed() {
        // The lock of a session that broke is free when the server has noticed.
        is_locked = is_locked || store::hosts::lock(&session, host.lock).await?;
        let tick = store::hosts::tick(&session, host.id, &engine.sleeping()).await?;
        engine.claims.set_clock(tick.now, cx.clock().now()?);
        if !tick.is_alive {
            warn!(host = %host.id, "this host was not heard of and was taken for dead: it begins anew, what it ran was given to others");
            *registered = None;
            engine.set_host(None);
            engine.backlog.forget();
            engine.running.abandon();
            return Ok(());
        }
        if engine.host() != Some(host.id) {
            engine.set_host(Some(host.id));
            engine.look();
        }
        engine.running.cancel(&tick.cancels);
        engine.look_at(&tick.queues);
        engine.claims.give_back_unknown(&session, host.id).await?;
        engine.running.split_long(cx, host.id).await;
        let clock = cx.clock();
        let (told, late) = (
            pin!(engine.running.cancel_asked()),
            pin!(clock.sleep(EVERY)),
        );
        if let Either::Right((slept, _)) = future::select(told, late).await {
            slept?;
        }
    }
    Ok(())
}

async fn register(session: &Transaction) -> Result<Registered> {
    let (id, lock) = store::hosts::register(session).await?;
    info!(host = %id, "this host works on jobs");
    Ok(Registered { id, lock })
}
