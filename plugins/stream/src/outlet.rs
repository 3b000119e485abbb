//! The seam between the logic of channels and whatever moves bytes: a session sends frames and closes, and never waits for it.

use std::sync::Arc;

use nself_plugin_api::capability::hub::Connection;

use crate::protocol::{Disconnect, End};

/// A text that is sent as it is, shared by all connections that it goes to.
pub(crate) type Frame = Arc<str>;

/// Where the frames of a session go.
pub(crate) trait Outlet: Send + Sync {
    /// Sends, in the order of the calls. A client that does not keep up is cut off instead of waited for.
    fn send(&self, frame: &Frame);

    /// Ends the connection after what was sent before. The first reason counts.
    fn end(&self, why: End);

    /// The same, by a reason of the server's.
    fn close(&self, why: Disconnect) {
        self.end(why.into());
    }

    /// Whether it has been ended, if only because the client did not keep up.
    fn is_closing(&self) -> bool;

    /// Gives up a connection that was closed some time ago and does not take its end.
    fn cut(&self);

    /// Its connection in the host's hub, where it has one: what goes to many goes there by a topic, and not through
    /// [`send`](Self::send).
    fn connection(&self) -> Option<&Connection> {
        None
    }
}
