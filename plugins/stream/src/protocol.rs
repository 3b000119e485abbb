//! Centrifugo's client protocol in JSON, by its public schema (`client.proto` of centrifugal/protocol): the types have the names
//! that they have there. Fields that this server never sends, and those of a client that it does not use, are left out.

mod codes;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

pub(crate) use self::codes::{Disconnect, End, Error, Unsubscribe};
use crate::positions::Positions;

/// What a client asks for. Exactly one of the requests is there; without any it is the answer to a ping.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Command {
    pub id: u32,
    pub connect: Option<ConnectRequest>,
    pub subscribe: Option<SubscribeRequest>,
    pub unsubscribe: Option<UnsubscribeRequest>,
    pub publish: Option<PublishRequest>,
    pub presence: Option<PresenceRequest>,
    pub presence_stats: Option<PresenceStatsRequest>,
    pub history: Option<HistoryRequest>,
    pub ping: Option<PingRequest>,
    pub send: Option<SendRequest>,
    pub rpc: Option<RPCRequest>,
    pub refresh: Option<RefreshRequest>,
    pub sub_refresh: Option<SubRefreshRequest>,
}

/// What the server says: the answer to the command of that id, a push, or, empty, a ping.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Reply<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    pub id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<Push<'a>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub result: Option<Answer>,
}

/// The result of a command, under the command's name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Connect(ConnectResult),
    Subscribe(SubscribeResult),
    Unsubscribe(UnsubscribeResult),
    Publish(PublishResult),
    Presence(PresenceResult),
    PresenceStats(PresenceStatsResult),
    History(HistoryResult),
    Ping(PingResult),
    Refresh(RefreshResult),
    Rpc(RPCResult),
}

/// What a client is told without having asked.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Push<'a> {
    /// Absent where it is about the connection.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub channel: &'a str,
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    pub publication: Option<&'a Publication>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Join<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<Leave<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Unsubscribe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Subscribe<'a>>,
    /// To who only listens: the connection has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<&'a ConnectResult>,
    /// To who only listens: the connection ends with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<&'a End>,
    /// The connection ends then, unless the client brings a newer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// Who somebody in a channel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientInfo {
    pub user: String,
    pub client: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Publication {
    pub data: Box<RawValue>,
    /// Of a client that published; absent when a server did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Box<RawValue>>,
    /// Absent where nothing is kept.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Box<RawValue>>,
    /// The data is what has changed since the one before.
    #[serde(skip_serializing_if = "is_false")]
    pub delta: bool,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub time: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Join<'a> {
    pub info: &'a ClientInfo,
}

#[derive(Debug, Serialize)]
pub(crate) struct Leave<'a> {
    pub info: &'a ClientInfo,
}

/// When the connection ends now.
#[derive(Debug, Serialize)]
pub(crate) struct Refresh {
    pub expires: bool,
    pub ttl: u32,
}

/// A subscription that the server has made.
#[derive(Debug, Serialize)]
pub(crate) struct Subscribe<'a> {
    #[serde(skip_serializing_if = "is_false")]
    pub recoverable: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub epoch: &'a str,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub offset: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub positioned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectRequest {
    pub token: String,
    /// Channels that the server subscribes it to, and where it was in them. Who only listens names others here too.
    pub subs: BTreeMap<String, SubscribeRequest>,
    /// An application's own; of what there may be in it one word is ours.
    pub data: Option<Box<RawValue>>,
}

/// What a client may say of itself in the data of its connect request.
#[derive(Deserialize)]
struct Oneself<'a> {
    #[serde(borrow)]
    instance: Cow<'a, str>,
}

/// Longest name that a client has for itself.
const INSTANCE_BYTES_MAX: usize = 64;

impl ConnectRequest {
    /// What a client calls itself, so that it is known again when it comes back.
    pub(crate) fn instance(&self) -> Option<String> {
        let data = self.data.as_ref()?.get();
        // Whatever else an application has there is no mistake.
        let Oneself { instance } = serde_json::from_str(data).ok()?;
        let is_name = (1..=INSTANCE_BYTES_MAX).contains(&instance.len());
        is_name.then(|| instance.into_owned())
    }
}

// By hand: the token is nobody's to read.
impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectRequest").finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ConnectResult {
    pub client: String,
    pub version: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    pub expires: bool,
    /// Seconds until the token ends.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u32,
    /// What the server has subscribed it to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subs: BTreeMap<String, SubscribeResult>,
    /// Seconds between two pings.
    pub ping: u32,
    /// Pings are to be answered.
    #[serde(skip_serializing_if = "is_false")]
    pub pong: bool,
    pub node: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RefreshRequest {
    pub token: String,
}

impl std::fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshRequest").finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct RefreshResult {
    pub client: String,
    pub version: &'static str,
    pub expires: bool,
    pub ttl: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubscribeRequest {
    pub channel: String,
    pub recover: bool,
    pub epoch: String,
    pub offset: i64,
    /// What the client wants beyond that, bit by bit.
    pub flag: i64,
    /// The kind of deltas that it can take, if any.
    pub delta: String,
    /// Positions in several channels, of which the one counts whose epoch it is.
    #[serde(skip)]
    pub positions: Positions,
    /// Whatever is kept is wanted, from wherever that begins.
    #[serde(skip)]
    pub is_from_the_earliest: bool,
}

impl SubscribeRequest {
    /// The bit by which a client would rather have no subscription than one with a gap.
    const REJECT_UNRECOVERED: i64 = 2;

    /// Whether a subscription that cannot go on without a gap is to be refused.
    pub(crate) fn is_whole_or_nothing(&self) -> bool {
        self.recover && self.flag & Self::REJECT_UNRECOVERED != 0
    }

    /// The last offset of that epoch that the client knows.
    pub(crate) fn since(&self, epoch: &str) -> Option<i64> {
        let named = (self.epoch == epoch).then_some(self.offset);
        named.or_else(|| self.positions.since(epoch))
    }
}

#[expect(clippy::struct_excessive_bools, reason = "the protocol has them")]
#[derive(Debug, Default, Serialize)]
pub(crate) struct SubscribeResult {
    #[serde(skip_serializing_if = "is_false")]
    pub recoverable: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<Publication>,
    #[serde(skip_serializing_if = "is_false")]
    pub recovered: bool,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub offset: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub positioned: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub was_recovering: bool,
    /// Data comes as strings, and may be deltas.
    #[serde(skip_serializing_if = "is_false")]
    pub delta: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SubRefreshRequest {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UnsubscribeRequest {
    pub channel: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct UnsubscribeResult {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PublishRequest {
    pub channel: String,
    pub data: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PublishResult {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PresenceRequest {
    pub channel: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct PresenceResult {
    pub presence: BTreeMap<String, ClientInfo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PresenceStatsRequest {
    pub channel: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct PresenceStatsResult {
    pub num_clients: usize,
    pub num_users: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StreamPosition {
    pub offset: i64,
    pub epoch: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryRequest {
    pub channel: String,
    /// 0 asks for the position alone, a negative one for all that may be had at once.
    pub limit: i64,
    pub since: Option<StreamPosition>,
    pub reverse: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct HistoryResult {
    pub publications: Vec<Publication>,
    pub epoch: String,
    pub offset: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PingRequest {}

#[derive(Debug, Serialize)]
pub(crate) struct PingResult {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SendRequest {}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RPCRequest {
    pub method: String,
    pub data: Option<Box<RawValue>>,
}

// By hand: there may be a token in the data.
impl std::fmt::Debug for RPCRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RPCRequest")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct RPCResult {
    pub data: Box<RawValue>,
}

impl Reply<'_> {
    /// As it is sent.
    pub(crate) fn frame(&self) -> Box<str> {
        // Strings, numbers and JSON that was read before: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// The frame of a push to the subscribers that know the channel by this name.
pub(crate) fn push(push: Push<'_>) -> Box<str> {
    let reply = Reply {
        push: Some(push),
        ..Reply::default()
    };
    reply.frame()
}

/// A push as it is sent to who only listens, without the reply around it.
pub(crate) fn bare(push: &Push<'_>) -> String {
    serde_json::to_string(push).unwrap_or_default()
}

/// What stands in the frame of a push; nothing in one of a ping.
pub(crate) fn pushed(frame: &str) -> Option<&str> {
    frame.strip_prefix(r#"{"push":"#)?.strip_suffix('}')
}

/// The commands of a frame, one a line.
///
/// # Errors
///
/// When a line is no command.
pub(crate) fn commands(frame: &str) -> Result<Vec<Command>, Disconnect> {
    let lines = frame.lines().map(str::trim).filter(|line| !line.is_empty());
    // A list would be read as well, by the order of the fields.
    let commands = lines.map(|line| {
        let is_object = line.starts_with('{');
        serde_json::from_str(line).ok().filter(|_| is_object)
    });
    commands
        .collect::<Option<_>>()
        .ok_or(Disconnect::BAD_REQUEST)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_zero_i64(number: &i64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_false(is: &bool) -> bool {
    !*is
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written {
            code: u32,
            message: &'static str,
            #[serde(skip_serializing_if = "is_false")]
            temporary: bool,
        }
        let Self {
            code,
            message,
            temporary,
        } = *self;
        Written {
            code,
            message,
            temporary,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_in_lines_and_a_broken_one_ends_the_connection() {
        let batch = "{\"id\":1,\"connect\":{\"token\":\"t\",\"new\":[]}}\n\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{}";
        let commands = commands(batch).expect("three commands");
        assert_eq!(commands.len(), 3);
        assert_eq!(commands[0].connect.as_ref().expect("connect").token, "t");
        assert_eq!(commands[1].id, 2);
        assert!(commands[2].id == 0 && commands[2].ping.is_none());
        for broken in [
            "{",
            "[1]",
            "{}{}",
            "{\"id\":-1}",
            "7",
            "{\"id\":1,\"subscribe\":7}",
        ] {
            let refused = super::commands(broken).expect_err(broken);
            assert_eq!(refused, Disconnect::BAD_REQUEST, "{broken}");
        }
    }

    #[test]
    fn replies_are_written_as_the_protocol_has_them() {
        let answer = Reply {
            id: 3,
            result: Some(Answer::Unsubscribe(UnsubscribeResult {})),
            ..Reply::default()
        };
        assert_eq!(&*answer.frame(), r#"{"id":3,"unsubscribe":{}}"#);
        let refused = Reply {
            id: 4,
            error: Some(Error::INTERNAL),
            ..Reply::default()
        };
        let written =
            r#"{"id":4,"error":{"code":100,"message":"internal server error","temporary":true}}"#;
        assert_eq!(&*refused.frame(), written);
        assert_eq!(&*Reply::default().frame(), "{}");
        let publication = Publication {
            data: RawValue::from_string("{\"b\": 1}".to_owned()).expect("JSON"),
            info: None,
            offset: 7,
            tags: None,
            delta: false,
            time: 0,
        };
        let frame = push(Push {
            channel: "a",
            publication: Some(&publication),
            ..Push::default()
        });
        let written = r#"{"push":{"channel":"a","pub":{"data":{"b": 1},"offset":7}}}"#;
        assert_eq!(&*frame, written);
        let inner = r#"{"channel":"a","pub":{"data":{"b": 1},"offset":7}}"#;
        assert_eq!(pushed(&frame), Some(inner));
        assert_eq!(pushed(&Reply::default().frame()), None);
        let ended = Push {
            disconnect: Some(&Disconnect::EXPIRED.into()),
            ..Push::default()
        };
        assert_eq!(
            bare(&ended),
            r#"{"disconnect":{"code":3005,"reason":"connection expired"}}"#
        );
    }

    #[test]
    fn a_token_is_not_shown_to_who_debugs() {
        let commands =
            commands(r#"{"id":1,"connect":{"token":"secret"},"refresh":{"token":"secret"}}"#);
        assert!(!format!("{commands:?}").contains("secret"));
    }
}
