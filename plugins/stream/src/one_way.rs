//! Clients that only listen, by server-sent events: one request says who it is and what it wants to hear, and the answer to it
//! does not end. A session like any other stands behind it; only the way of its frames is another one.

mod outlet;
mod told;

use std::sync::Arc;

use nself_plugin_api::prelude::*;

use self::outlet::Waiting;
pub(crate) use self::told::{Telling, Wording};
use crate::{
    Stream,
    channel::Channel,
    leaving,
    outlet::Outlet,
    positions::Positions,
    protocol::{ConnectRequest, ConnectResult, SubscribeRequest},
    session::{No, Session, by_server, connect},
};

/// Channels that one request may name. The id of each event says where the client is in all of them.
pub(crate) const CHANNELS_MAX: usize = 32;

/// What a client of Mercure says that wants all that is kept.
const EARLIEST: &str = "earliest";

/// A connection that has begun. Dropped, it takes its session out of everything.
pub(crate) struct Open {
    cx: Cx<Stream>,
    session: Arc<Session>,
    waiting: Arc<Waiting>,
}

impl Drop for Open {
    fn drop(&mut self) {
        leaving::end(&self.cx, &self.session);
    }
}

/// Begins a connection of the bearer of that token in the channels that it names, and those that the server adds. What is
/// published from here on waits until it is told.
///
/// # Errors
///
/// Why the request is refused; nothing is left of it then.
pub(crate) async fn open(
    cx: &Cx<Stream>,
    request: ConnectRequest,
    last: Option<&str>,
    is_server_asked: bool,
) -> std::result::Result<(Open, ConnectResult), No> {
    let bytes_max = usize::try_from(cx.plugin().config.queue_bytes_max).unwrap_or(usize::MAX);
    let waiting = Arc::new(Waiting::new(bytes_max));
    let outlet = Arc::clone(&waiting) as Arc<dyn Outlet>;
    let session = Arc::new(Session::one_way(outlet, cx.clock().monotonic()?));
    cx.plugin().hub.add(&session);
    let open = Open {
        cx: cx.clone(),
        session,
        waiting,
    };
    let instance = request.instance();
    let ConnectRequest {
        token, mut subs, ..
    } = request;
    let mut result = connect::begin(cx, &open.session, token, instance).await?;
    let caller = open.session.caller()?;
    let mut wanted = Vec::new();
    if is_server_asked {
        wanted = by_server::on_connect(cx, &caller, &mut subs);
    }
    for (spelled, request) in subs {
        let channel = cx.plugin().namespaces.resolve(&spelled, &caller)?;
        wanted.push((channel.by_server(), request));
    }
    if last == Some(EARLIEST) {
        for (_, request) in &mut wanted {
            request.recover = true;
            request.is_from_the_earliest = true;
        }
    } else if let Some(positions) = last.map(Positions::read) {
        come_again(&mut wanted, &positions);
    }
    let mut entered = by_server::enter_all(cx, &open.session, &caller, wanted).await?;
    result.subs = std::mem::take(&mut entered.results);
    // Whatever comes from here on waits in the connection's own queue.
    entered.admit(cx, &open.session).await;
    Ok((open, result))
}

/// What the last event said counts, and not the address, which a client repeats unchanged.
fn come_again(wanted: &mut [(Channel, SubscribeRequest)], positions: &Positions) {
    for (_, request) in wanted {
        *request = SubscribeRequest {
            recover: true,
            positions: positions.clone(),
            ..SubscribeRequest::default()
        };
    }
}
