//! Numbers that tell clients what to do: errors of commands, ends of subscriptions, ends of connections. They are Centrifugo's,
//! because its clients decide by them whether to come again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Why a command is not carried out. `temporary`: the client asks again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error {
    pub code: u32,
    pub message: &'static str,
    pub temporary: bool,
}

impl Error {
    pub(crate) const INTERNAL: Self = Self::again(100, "internal server error");
    pub(crate) const UNAUTHORIZED: Self = Self::new(101, "unauthorized");
    pub(crate) const UNKNOWN_CHANNEL: Self = Self::new(102, "unknown channel");
    pub(crate) const PERMISSION_DENIED: Self = Self::new(103, "permission denied");
    pub(crate) const METHOD_NOT_FOUND: Self = Self::new(104, "method not found");
    pub(crate) const ALREADY_SUBSCRIBED: Self = Self::new(105, "already subscribed");
    pub(crate) const LIMIT_EXCEEDED: Self = Self::new(106, "limit exceeded");
    pub(crate) const BAD_REQUEST: Self = Self::new(107, "bad request");
    pub(crate) const NOT_AVAILABLE: Self = Self::new(108, "not available");
    pub(crate) const TOKEN_EXPIRED: Self = Self::new(109, "token expired");
    pub(crate) const EXPIRED: Self = Self::new(110, "expired");
    pub(crate) const TOO_MANY_REQUESTS: Self = Self::again(111, "too many requests");
    pub(crate) const UNRECOVERABLE_POSITION: Self = Self::new(112, "unrecoverable position");
    // From 400 on they are an application's own.
    pub(crate) const SESSION_NOT_FOUND: Self = Self::new(404, "session not found");
    pub(crate) const SESSION_ENDED: Self = Self::new(410, "session ended");

    const fn new(code: u32, message: &'static str) -> Self {
        Self {
            code,
            message,
            temporary: false,
        }
    }

    const fn again(code: u32, message: &'static str) -> Self {
        Self {
            code,
            message,
            temporary: true,
        }
    }
}

/// Why a subscription ends. From 2500 on the client subscribes again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Unsubscribe {
    pub code: u32,
    pub reason: &'static str,
}

impl Unsubscribe {
    /// The server does not want it any more: rights were taken away, or an operator said so.
    pub(crate) const SERVER: Self = Self {
        code: 2000,
        reason: "server unsubscribe",
    };
    /// The server has lost what it would need to go on without a gap.
    pub(crate) const INSUFFICIENT_STATE: Self = Self {
        code: 2500,
        reason: "insufficient state",
    };
    /// Whoever made it has said until when it lasts.
    pub(crate) const EXPIRED: Self = Self {
        code: 2501,
        reason: "expired",
    };
}

/// Why a connection ends. From 3500 on (below 4000), and from 4500 on, the client does not come again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Disconnect {
    pub code: u16,
    pub reason: &'static str,
}

impl Disconnect {
    pub(crate) const SHUTDOWN: Self = Self::new(3001, "shutdown");
    pub(crate) const SERVER_ERROR: Self = Self::new(3004, "internal server error");
    pub(crate) const EXPIRED: Self = Self::new(3005, "connection expired");
    pub(crate) const SLOW: Self = Self::new(3008, "slow");
    pub(crate) const INSUFFICIENT_STATE: Self = Self::new(3010, "insufficient state");
    pub(crate) const NO_PONG: Self = Self::new(3012, "no pong");
    pub(crate) const INVALID_TOKEN: Self = Self::new(3500, "invalid token");
    pub(crate) const BAD_REQUEST: Self = Self::new(3501, "bad request");
    pub(crate) const STALE: Self = Self::new(3502, "stale");
    pub(crate) const FORCE_DISCONNECT: Self = Self::new(3503, "force disconnect");
    pub(crate) const CONNECTION_LIMIT: Self = Self::new(3504, "connection limit");
    pub(crate) const INAPPROPRIATE_PROTOCOL: Self = Self::new(3506, "inappropriate protocol");
    // From 4500 on they are an application's own, and the client does not come again either.
    pub(crate) const REPLACED: Self = Self::new(4500, "replaced");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// The end of a connection as it is said: one of those above, or one that a program has words of its own for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl From<Disconnect> for End {
    fn from(Disconnect { code, reason }: Disconnect) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }
}
