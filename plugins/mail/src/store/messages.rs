//! The queue. What the columns mean stands in the migration.

use std::time::Duration;

use nself_plugin_api::{Result, Schema, jiff::Timestamp, prelude::*, uuid::Uuid};
use serde::{Deserialize, Serialize};

use crate::{
    address,
    letter::{Content, NewMessage, Receipt, Taken},
};

/// A mail that this worker has taken; the attempt is its fence.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub id: Uuid,
    pub attempt: i32,
    pub queued_at: Timestamp,
    pub address: String,
    pub recipient: String,
    pub sender: String,
    pub reply_to: Option<String>,
    pub content: Content,
    /// The address came onto the list after the mail was queued.
    pub is_suppressed: bool,
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Delivered.
    Sent,
    /// Not yet: again at that time.
    Again { at: Timestamp, error: String },
    /// Never.
    Failed { error: String },
    /// The address gets no mail.
    Suppressed,
}

/// Where a mail is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It waits for its first or next attempt.
    Queued,
    /// A worker has it.
    Sending,
    /// It was delivered.
    Sent,
    /// It will not be delivered.
    Failed,
    /// Its address gets no mail.
    Suppressed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
        }
    }
}

/// The answer of `status`.
#[derive(Debug, Serialize)]
pub(crate) struct Progress {
    pub status: String,
    pub attempts: i32,
    pub last_error: Option<String>,
}

/// A mail as the operator sees it: without what it says.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Listed {
    /// UUIDv7: ascending in time.
    pub id: Uuid,
    /// Where it is in its life: `queued`, `sending`, `sent`, `failed`, `suppressed`.
    pub status: String,
    /// Who gets it.
    pub to: String,
    /// What it was made from.
    pub template: Option<String>,
    /// Attempts so far.
    pub attempts: i32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was handed in.
    pub created_at: Timestamp,
    /// When it is tried next, or when it is given up by a worker that has it.
    pub due_at: Option<Timestamp>,
    /// When it was sent or given up.
    pub finished_at: Option<Timestamp>,
}

/// Which mails are listed.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Only those in this state.
    pub status: Option<State>,
    /// Only those to this address.
    pub to: Option<String>,
    /// The last id of the page before.
    pub before: Option<Uuid>,
    /// Mails on one page, 50 unless stated, at most 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// How long the queue is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depth {
    pub waiting: i64,
    pub oldest_seconds: f64,
    pub failed: i64,
}

/// Puts a mail into the queue, unless its key is known. One statement, so the answer is right whatever else happens.
pub(crate) async fn insert(
    db: &impl Queries,
    id: Option<Uuid>,
    message: &NewMessage,
    now: Timestamp,
) -> Result<Receipt> {
    let mailbox = |mailbox: &lettre::message::Mailbox| mailbox.to_string();
    let row = db
        .query_one(
            "with listed as (select exists (select 1 from mail.suppressions where address = $1) as yes) \
             insert into mail.messages (id, state, address, recipient, sender, reply_to, template, language, \
                 subject, body_text, body_html, idempotency_key, created_at, queued_at, due_at, finished_at) \
             select coalesce($12, nself.uuid_v7()), case when yes then 'suppressed' else 'queued' end, $1, $2, $3, $4, $5, $6, $7, \
                 case when not yes then $8 end, case when not yes then $9 end, $10, $11, $11, $11, \
                 case when yes then $11 end from listed \
             on conflict (idempotency_key) do update set idempotency_key = excluded.idempotency_key \
             returning id, xmax = 0 as is_new, state",
            &[
                &address::key(&message.recipient),
                &mailbox(&message.recipient),
                &mailbox(&message.sender),
                &message.reply_to.as_ref().map(mailbox),
                &message.template,
                &message.language,
                &message.content.subject,
                &message.content.text,
                &message.content.html,
                &message.idempotency_key,
                &now,
                &id,
            ],
        )
        .await?;
    let status = match (row.get::<bool>("is_new")?, row.get::<&str>("state")?) {
        (false, _) => Taken::Duplicate,
        (true, "suppressed") => Taken::Suppressed,
        (true, _) => Taken::Queued,
    };
    Ok(Receipt {
        id: row.get("id")?,
        status,
    })
}

/// A mail that was asked for and cannot be written.
pub(crate) struct Unwritten<'a> {
    pub id: Uuid,
    pub recipient: &'a str,
    pub sender: &'a str,
    pub template: Option<&'a str>,
    pub error: &'a str,
}

/// Lists a mail as failed that never came to be one.
pub(crate) async fn insert_unwritten(
    db: &impl Queries,
    unwritten: &Unwritten<'_>,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "insert into mail.messages (id, state, address, recipient, sender, template, subject, last_error, created_at, \
             queued_at, due_at, finished_at) \
         values ($1, 'failed', lower($2), $2, $3, $4, '', $5, $6, $6, $6, $6)",
        &[
            &unwritten.id,
            &unwritten.recipient,
            &unwritten.sender,
            &unwritten.template,
            &unwritten.error,
            &now,
        ],
    )
    .await?;
    Ok(())
}

/// Takes at most `limit` mails that are due, those that wait longest first.
pub(crate) async fn claim(
    db: &impl Queries,
    now: Timestamp,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Claimed>> {
    let lease_ends = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.query(
        "with due as (select id from mail.messages where state in ('queued', 'sending') and due_at <= $1 \
             order by due_at limit $3 for update skip locked) \
         update mail.messages m set state = 'sending', attempts = attempts + 1, due_at = $2 \
         from due where m.id = due.id \
         returning m.id, m.attempts, m.queued_at, m.address, m.recipient, m.sender, m.reply_to, m.subject, \
             m.body_text, m.body_html, exists (select 1 from mail.suppressions s where s.address = m.address) as listed",
        &[&now, &lease_ends, &limit],
    )
    .await?
    .map(|row| {
        Ok(Claimed {
            id: row.get("id")?,
            attempt: row.get("attempts")?,
            queued_at: row.get("queued_at")?,
            address: row.get("address")?,
            recipient: row.get("recipient")?,
            sender: row.get("sender")?,
            reply_to: row.get("reply_to")?,
            content: Content {
                subject: row.get("subject")?,
                text: row.get::<Option<String>>("body_text")?.unwrap_or_default(),
                html: row.get("body_html")?,
            },
            is_suppressed: row.get("listed")?,
        })
    })
}

/// Ends an attempt, if it is still this worker's; whether it was. What a finished mail said is forgotten, except of one
/// that has failed, which may be tried again.
pub(crate) async fn finish(
    db: &impl Queries,
    claimed: &Claimed,
    ending: &Ending,
    now: Timestamp,
) -> Result<bool> {
    let (state, due_at, error) = match ending {
        Ending::Sent => ("sent", now, None),
        Ending::Again { at, error } => ("queued", *at, Some(error)),
        Ending::Failed { error } => ("failed", now, Some(error)),
        Ending::Suppressed => ("suppressed", now, None),
    };
    let changed = db
        .execute(
            "update mail.messages set state = $3, due_at = $4, last_error = coalesce($5, last_error), \
                 finished_at = case when $3 <> 'queued' then $6 end, \
                 body_text = case when $3 in ('queued', 'failed') then body_text end, \
                 body_html = case when $3 in ('queued', 'failed') then body_html end \
             where id = $1 and attempts = $2 and state = 'sending'",
            &[
                &claimed.id,
                &claimed.attempt,
                &state,
                &due_at,
                &error.cloned(),
                &now,
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// When the next mail is due.
pub(crate) async fn next_due(db: &impl Queries) -> Result<Option<Timestamp>> {
    let row = db
        .query_one(
            "select min(due_at) from mail.messages where state in ('queued', 'sending')",
            &[],
        )
        .await?;
    row.get(0)
}

/// Tells the other replicas that there is work. In no transaction that only queues a mail: that would put commits into a
/// row. (`mail.post` does: its mails are few, and nobody else knows when its caller commits.)
pub(crate) async fn notify(db: &impl Queries) -> Result<()> {
    db.query("select pg_notify('nself_mail', '')", &[]).await?;
    Ok(())
}

/// The channel of [`notify`].
pub(crate) const CHANNEL: &str = "nself_mail";

pub(crate) async fn progress(db: &impl Queries, id: Uuid) -> Result<Option<Progress>> {
    let row = db
        .query_opt(
            "select state, attempts, last_error from mail.messages where id = $1 \
             union all select 'queued', 0, null from mail.letters where id = $1 limit 1",
            &[&id],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Progress {
            status: row.get("state")?,
            attempts: row.get("attempts")?,
            last_error: row.get("last_error")?,
        })
    };
    row.as_ref().map(read).transpose()
}

/// A page of mails, newest first.
pub(crate) async fn page(db: &impl Queries, filter: &Filter) -> Result<Vec<Listed>> {
    let limit = i64::from(filter.limit.unwrap_or(50).clamp(1, 200));
    let address = filter.to.as_ref().map(|to| to.trim().to_lowercase());
    db.query(
        "select id, state, recipient, template, attempts, last_error, created_at, finished_at, \
             case when finished_at is null then due_at end as due_at \
         from mail.messages where ($1::text is null or state = $1) and ($2::text is null or address = $2) \
             and ($3::uuid is null or id < $3) order by id desc limit $4",
        &[
            &filter.status.map(State::name),
            &address,
            &filter.before,
            &limit,
        ],
    )
    .await?
    .map(|row| {
        Ok(Listed {
            id: row.get("id")?,
            status: row.get("state")?,
            to: row.get("recipient")?,
            template: row.get("template")?,
            attempts: row.get("attempts")?,
            last_error: row.get("last_error")?,
            created_at: row.get("created_at")?,
            due_at: row.get("due_at")?,
            finished_at: row.get("finished_at")?,
        })
    })
}

/// Makes a mail that failed or waits due now, with all its attempts before it; the state that it was in, if there is one.
/// One that failed before it was written has nothing to send.
pub(crate) async fn retry(db: &impl Queries, id: Uuid, now: Timestamp) -> Result<Option<String>> {
    let row = db
        .query_opt(
            "with found as (select id, case when state = 'failed' and body_text is null then 'never written' else state end as state \
                 from mail.messages where id = $1 for update), \
             changed as (update mail.messages m set state = 'queued', attempts = 0, queued_at = $2, due_at = $2, \
                 finished_at = null from found where m.id = found.id and found.state in ('failed', 'queued')) \
             select state from found",
            &[&id, &now],
        )
        .await?;
    row.as_ref().map(|row| row.get("state")).transpose()
}

/// Forgets at most `limit` mails that were finished before that time; how many.
pub(crate) async fn prune(db: &impl Queries, before: Timestamp, limit: i64) -> Result<u64> {
    db.execute(
        "delete from mail.messages where id in (select id from mail.messages where finished_at < $1 \
             order by finished_at limit $2 for update skip locked)",
        &[&before, &limit],
    )
    .await
}

pub(crate) async fn depth(db: &impl Queries, now: Timestamp) -> Result<Depth> {
    let row = db
        .query_one(
            "select count(*) filter (where state in ('queued', 'sending')) as waiting, \
                 count(*) filter (where state = 'failed') as failed, \
                 coalesce(extract(epoch from $1 - min(queued_at) filter (where state in ('queued', 'sending'))), 0)::float8 as age \
             from mail.messages where state in ('queued', 'sending', 'failed')",
            &[&now],
        )
        .await?;
    Ok(Depth {
        waiting: row.get("waiting")?,
        oldest_seconds: row.get::<f64>("age")?.max(0.0),
        failed: row.get("failed")?,
    })
}
