//! `auth.sessions`.

use std::net::IpAddr;

use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::*,
};
use uuid::Uuid;

use super::accounts::read_user;
use crate::{
    account::User,
    caller::Caller,
    refresh::RefreshToken,
    session::{Session, Shown},
};

/// Everything that a session's tokens say, from a row `s`. Role and families are read anew each time: a token never
/// outlives a change of them by more than its own few minutes. A script whose token is for one family sees no other.
macro_rules! facts {
    () => {
        "select s.id, s.generation, s.epoch, s.user_id, s.device_id, s.family_id, s.aal, s.amr, s.auth_time, \
         s.elevated_until, s.absolute_expiry, m.id as member_id, m.role, \
         array(select a.family_id from public.family_members a join public.families f on f.id = a.family_id \
           where a.user_id = s.user_id and a.status = 'active' and f.deleted_at is null \
             and (s.api_token_id is null or a.family_id = coalesce((\
               select k.family_id from auth.api_tokens k where k.id = s.api_token_id), a.family_id)) \
           order by a.created_at, a.id limit 64) as family_ids, \
         coalesce((select jsonb_object_agg(r.slug, r.roles) from (\
           select p.slug, jsonb_agg(x.role order by x.role) as roles from public.user_app_roles x \
           join public.apps p on p.id = x.app_id where x.user_id = s.user_id group by p.slug) r), '{}') as app_roles, \
         u.id as u_id, u.email, u.email_verified_at, u.display_name, u.avatar_url, u.locale, u.timezone, u.kind, \
         u.is_anonymous, u.created_at as u_created_at \
         from s left join public.users u on u.id = s.user_id \
         left join public.family_members m on m.user_id = s.user_id and m.family_id = s.family_id \
           and m.status = 'active' and exists (\
             select from public.families f where f.id = m.family_id and f.deleted_at is null)"
    };
}

fn read_session(row: &Row) -> Result<Session> {
    Ok(Session {
        id: row.get("id")?,
        generation: row.get("generation")?,
        epoch: row.get("epoch")?,
        user_id: row.get("user_id")?,
        device_id: row.get("device_id")?,
        family_id: row.get("family_id")?,
        member_id: row.get("member_id")?,
        role: row.get("role")?,
        family_ids: row.get("family_ids")?,
        app_roles: row.get("app_roles")?,
        aal: row.get("aal")?,
        amr: row.get("amr")?,
        auth_time: row.get("auth_time")?,
        elevated_until: row.get("elevated_until")?,
        absolute_expiry: row.get("absolute_expiry")?,
    })
}

fn read_both(row: &Row) -> Result<(Session, Option<User>)> {
    let is_person = row.get::<Option<Uuid>>("u_id")?.is_some();
    let user = is_person.then(|| read_user(row)).transpose()?;
    Ok((read_session(row)?, user))
}

/// What a new session begins with.
pub(crate) struct New<'a> {
    pub(crate) user_id: Uuid,
    pub(crate) family: Option<Uuid>,
    pub(crate) aal: i16,
    pub(crate) amr: &'a [&'a str],
    pub(crate) caller: &'a Caller,
    pub(crate) now: Timestamp,
    pub(crate) elevated_until: Option<Timestamp>,
    pub(crate) idle_expiry: Timestamp,
    pub(crate) absolute_expiry: Timestamp,
    /// The first of the codes that led to it, where a code that comes again ends it.
    pub(crate) begun_by: Option<Uuid>,
}

/// A new session in the family that was asked for, else in the one of the last session, else in the oldest; and the audit
/// log's entry and the event, in the same statement.
pub(crate) async fn insert(db: &impl Queries, new: &New<'_>) -> Result<Session> {
    let row = db
        .query_one(
            concat!(
                "with chosen as (\
                   select m.family_id from public.family_members m join public.families f on f.id = m.family_id \
                   where m.user_id = $1 and m.status = 'active' and f.deleted_at is null \
                     and ($2::uuid is null or m.family_id = $2) \
                   order by m.family_id is not distinct from (select l.family_id from auth.sessions l \
                     where l.user_id = $1 order by l.created_at desc limit 1) desc, m.created_at, m.id limit 1), \
                 s as (\
                   insert into auth.sessions (user_id, family_id, aal, amr, client, ip, user_agent, created_at, \
                     rotated_at, auth_time, elevated_until, idle_expiry, absolute_expiry, begun_by) \
                   values ($1, (select family_id from chosen), $3, $4, $5, $6, $7, $8, $8, $8, $9, $10, $11, $12) returning *), \
                 audited as materialized (\
                   select nself.audit('auth.signed_in', s.id::text, \
                     jsonb_build_object('user_id', s.user_id, 'amr', s.amr, 'ip', host(s.ip)), null, s.user_id::text), \
                   nself.emit_event('auth.signed_in', s.user_id::text, \
                     jsonb_build_object('user_id', s.user_id, 'session_id', s.id, 'amr', s.amr)) from s), \
                 told as (select count(*) from audited) ",
                facts!(),
                " cross join told"
            ),
            &[
                &new.user_id,
                &new.family,
                &new.aal,
                &new.amr,
                &new.caller.client,
                &new.caller.ip,
                &new.caller.user_agent,
                &new.now,
                &new.elevated_until,
                &new.idle_expiry,
                &new.absolute_expiry,
                &new.begun_by,
            ],
        )
        .await?;
    read_session(&row)
}

/// A turn of a session's refresh token.
pub(crate) struct Rotation {
    pub(crate) token: RefreshToken,
    pub(crate) family: Option<Uuid>,
    pub(crate) now: Timestamp,
    pub(crate) idle: SignedDuration,
    pub(crate) device_idle: SignedDuration,
    pub(crate) ip: Option<IpAddr>,
}

/// Turns the session if the token is its current one: one statement, so of many that arrive at once exactly one turns it.
/// A script's session stays in the family that its token was exchanged in.
pub(crate) async fn rotate(
    db: &impl Queries,
    turn: &Rotation,
) -> Result<Option<(Session, Option<User>)>> {
    let row = db
        .query_opt(
            concat!(
                "with s as (\
                   update auth.sessions t set generation = t.generation + 1, rotated_at = $3, \
                     ip = coalesce($7, t.ip), family_id = coalesce($4, t.family_id), \
                     idle_expiry = least(t.absolute_expiry, case when t.device_id is null then $5 else $6 end) \
                   where t.id = $1 and t.generation = $2 and t.revoked_at is null \
                     and t.idle_expiry > $3 and t.absolute_expiry > $3 \
                     and (t.user_id is null or exists (\
                       select from public.users u where u.id = t.user_id and u.status = 'active')) \
                     and (t.device_id is null or exists (\
                       select from public.devices d where d.id = t.device_id and d.revoked_at is null)) \
                     and ($4::uuid is null or t.api_token_id is null and exists (\
                       select from public.family_members m join public.families f on f.id = m.family_id \
                       where m.user_id = t.user_id and m.family_id = $4 and m.status = 'active' \
                         and f.deleted_at is null)) \
                   returning t.*) ",
                facts!()
            ),
            &[
                &turn.token.session,
                &turn.token.generation,
                &turn.now,
                &turn.family,
                &(turn.now + turn.idle),
                &(turn.now + turn.device_idle),
                &turn.ip,
            ],
        )
        .await?;
    row.as_ref().map(read_both).transpose()
}

/// A session as its tokens will tell it after this turn, if it turns; `None` when it has ended.
pub(crate) async fn after(db: &impl Queries, turn: &Rotation) -> Result<Option<Session>> {
    let row = db
        .query_opt(
            concat!(
                "with s as (\
                   select id, generation, epoch, user_id, device_id, coalesce($2, family_id) as family_id, aal, amr, \
                     auth_time, elevated_until, absolute_expiry, api_token_id \
                   from auth.sessions where id = $1 and revoked_at is null) ",
                facts!()
            ),
            &[&turn.token.session, &turn.family],
        )
        .await?;
    row.as_ref().map(read_session).transpose()
}

/// A session as its tokens would tell it now; `None` when it has ended.
pub(crate) async fn read(db: &impl Queries, id: Uuid) -> Result<Option<(Session, Option<User>)>> {
    let row = db
        .query_opt(
            concat!(
                "with s as (select * from auth.sessions where id = $1 and revoked_at is null) ",
                facts!()
            ),
            &[&id],
        )
        .await?;
    row.as_ref().map(read_both).transpose()
}

/// Whether a session of this person has not been ended.
pub(crate) async fn goes_on(db: &impl Queries, id: Uuid, user_id: Uuid) -> Result<bool> {
    let row = db
        .query_one(
            "select exists (select from auth.sessions where id = $1 and user_id = $2 and revoked_at is null)",
            &[&id, &user_id],
        )
        .await?;
    row.get(0)
}

/// Where a session stands, ended or not.
pub(crate) struct Standing {
    pub(crate) user_id: Option<Uuid>,
    pub(crate) generation: i32,
    pub(crate) rotated_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) is_revoked: bool,
    pub(crate) is_bearer_active: bool,
}

pub(crate) async fn standing(db: &impl Queries, id: Uuid) -> Result<Option<Standing>> {
    let row = db
        .query_opt(
            "select s.user_id, s.generation, s.rotated_at, least(s.idle_expiry, s.absolute_expiry) as ends_at, \
             s.revoked_at is not null as is_revoked, \
             coalesce(u.status = 'active', d.revoked_at is null) as is_bearer_active \
             from auth.sessions s left join public.users u on u.id = s.user_id \
             left join public.devices d on d.id = s.device_id where s.id = $1",
            &[&id],
        )
        .await?;
    row.map(|row| {
        Ok(Standing {
            user_id: row.get("user_id")?,
            generation: row.get("generation")?,
            rotated_at: row.get("rotated_at")?,
            ends_at: row.get("ends_at")?,
            is_revoked: row.get("is_revoked")?,
            is_bearer_active: row.get("is_bearer_active")?,
        })
    })
    .transpose()
}

/// Whether an access token of this epoch is still good: its session goes on, and its bearer is who it was.
pub(crate) async fn is_alive(
    db: &impl Queries,
    id: Uuid,
    epoch: i64,
    now: Timestamp,
) -> Result<bool> {
    db.query_one(
        "select exists (select from auth.sessions s left join public.users u on u.id = s.user_id \
           left join public.devices d on d.id = s.device_id \
           where s.id = $1 and s.revoked_at is null and s.absolute_expiry > $3 and s.epoch <= $2 \
             and coalesce(u.status = 'active', d.revoked_at is null))",
        &[&id, &epoch, &now],
    )
    .await?
    .get(0)
}

/// The end of every statement that ends sessions, in `ended`: each host is told when the transaction commits, and the audit
/// log has an entry for each. Who has ended it is whoever `$by` says, else its bearer when somebody signs out.
///
/// The sessions are sorted, so all of them are ended before the log is touched: whoever waits for the log holds no session
/// that somebody else waits for who has the log.
macro_rules! say_ended {
    ($by:literal) => {
        concat!(
            "select pg_notify('auth', 'revoked ' || id), nself.audit('auth.session_ended', id::text, \
               jsonb_strip_nulls(jsonb_build_object('user_id', user_id, 'device_id', device_id, 'why', revoked_why)), null, \
               coalesce(",
            $by,
            ", case when revoked_why = 'signed_out' then coalesce(user_id, device_id)::text end)) \
             from (select * from ended order by id) e"
        )
    };
}
pub(super) use say_ended;

/// Why sessions end, and who has done it where that is not their bearer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) why: &'a str,
    pub(crate) by: Option<&'a str>,
    pub(crate) now: Timestamp,
}

impl<'a> End<'a> {
    pub(crate) const fn of(why: &'a str, now: Timestamp) -> Self {
        Self { why, by: None, now }
    }

    pub(crate) const fn by(self, by: &'a str) -> Self {
        Self {
            by: Some(by),
            ..self
        }
    }
}

/// Ends sessions; how many.
pub(crate) async fn revoke(db: &impl Queries, ids: &[Uuid], end: End<'_>) -> Result<usize> {
    let ended = db
        .query(
            concat!(
                "with ended as (\
                   update auth.sessions set revoked_at = $3, revoked_why = $2 \
                   where id = any($1) and revoked_at is null returning *) ",
                say_ended!("$4")
            ),
            &[&ids, &end.why, &end.now, &end.by],
        )
        .await?;
    Ok(ended.len())
}

/// Ends all sessions of a person but one; how many.
pub(crate) async fn revoke_others(
    db: &impl Queries,
    user_id: Uuid,
    kept: Option<Uuid>,
    end: End<'_>,
) -> Result<usize> {
    let ended = db
        .query(
            concat!(
                "with locked as (\
                   select id from auth.sessions \
                   where user_id = $1 and id is distinct from $2 and revoked_at is null order by id for update), \
                 ended as (\
                   update auth.sessions set revoked_at = $4, revoked_why = $3 \
                   where id in (select id from locked) returning *) ",
                say_ended!("$5")
            ),
            &[&user_id, &kept, &end.why, &end.now, &end.by],
        )
        .await?;
    Ok(ended.len())
}

/// Ends all sessions of several people.
pub(crate) async fn revoke_all(db: &impl Queries, people: &[Uuid], end: End<'_>) -> Result<()> {
    db.query(
        concat!(
            "with locked as (\
               select id from auth.sessions where user_id = any($1) and revoked_at is null order by id for update), \
             ended as (\
               update auth.sessions set revoked_at = $3, revoked_why = $2 \
               where id in (select id from locked) returning *) ",
            say_ended!("$4")
        ),
        &[&people, &end.why, &end.now, &end.by],
    )
    .await?;
    Ok(())
}

/// Ends one session of a person; whether there was one.
pub(crate) async fn revoke_own(
    db: &impl Queries,
    user_id: Uuid,
    id: Uuid,
    end: End<'_>,
) -> Result<bool> {
    let ended = db
        .query(
            concat!(
                "with ended as (\
                   update auth.sessions set revoked_at = $4, revoked_why = $3 \
                   where user_id = $1 and id = $2 and revoked_at is null returning *) ",
                say_ended!("$5")
            ),
            &[&user_id, &id, &end.why, &end.now, &end.by],
        )
        .await?;
    Ok(!ended.is_empty())
}

/// Ends a session whose refresh token came back after its time, and says so in the audit log. Whose it was, unless it had
/// ended already.
pub(crate) async fn end_reused(
    db: &impl Queries,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Option<Uuid>>> {
    let row = db
        .query_opt(
        "with ended as (\
           update auth.sessions set revoked_at = $2, revoked_why = 'reuse' \
           where id = $1 and revoked_at is null returning id, user_id) \
         select user_id, pg_notify('auth', 'revoked ' || id), \
           nself.audit('auth.refresh_reused', id::text, jsonb_build_object('user_id', user_id), null, user_id::text) \
         from ended",
        &[&id, &now],
    )
    .await?;
    row.map(|row| row.get("user_id")).transpose()
}

/// Ends what a code began that has come a second time; whose sessions those were.
pub(crate) async fn end_replayed(
    db: &impl Queries,
    codes: &[Uuid],
    session: Option<Uuid>,
    now: Timestamp,
) -> Result<Vec<Uuid>> {
    db.query(
        concat!(
            "with ended as (\
               update auth.sessions set revoked_at = $3, revoked_why = 'code_replayed' \
               where (begun_by = any($1) or id = $2) and revoked_at is null returning *), \
             said as materialized (",
            say_ended!("null::text"),
            ") select distinct user_id from ended, (select count(*) from said) s where user_id is not null"
        ),
        &[&codes, &session, &now],
    )
    .await?
    .map(|row| row.get("user_id"))
}

/// Makes the access tokens that a person holds for a family outdated: what they say is no longer so.
pub(crate) async fn outdate(
    db: &impl Queries,
    user_id: Uuid,
    family_id: Uuid,
    now: Timestamp,
) -> Result<()> {
    db.query(
        "with changed as (\
           update auth.sessions set epoch = epoch + 1, epoch_at = $3 \
           where user_id = $1 and family_id = $2 and revoked_at is null returning id, epoch) \
         select pg_notify('auth', 'outdated ' || id || ' ' || epoch) from changed",
        &[&user_id, &family_id, &now],
    )
    .await?;
    Ok(())
}

/// What changed since then, for a host that has just begun to listen: ended sessions, epochs of changed ones, and services,
/// whose tokens name themselves as their session.
pub(crate) async fn changed_since(
    db: &impl Queries,
    since: Timestamp,
) -> Result<Vec<(Uuid, Option<i32>)>> {
    db.query(
        "select id, null::integer as epoch from auth.sessions where revoked_at > $1 \
         union all \
         select id, epoch from auth.sessions where epoch_at > $1 and revoked_at is null \
         union all \
         select id, null from auth.api_tokens where revoked_at > $1 and user_id is null",
        &[&since],
    )
    .await?
    .map(|row| Ok((row.get("id")?, row.get("epoch")?)))
}

/// The living sessions of a person, the last used first.
pub(crate) async fn list(
    db: &impl Queries,
    user_id: Uuid,
    current: Option<Uuid>,
    now: Timestamp,
) -> Result<Vec<Shown>> {
    db.query(
        "select id, client, user_agent, host(ip) as ip, created_at, rotated_at from auth.sessions \
         where user_id = $1 and revoked_at is null and idle_expiry > $2 and absolute_expiry > $2 \
         order by rotated_at desc, id",
        &[&user_id, &now],
    )
    .await?
    .map(|row| {
        let id = row.get("id")?;
        Ok(Shown {
            id,
            client: row.get("client")?,
            user_agent: row.get("user_agent")?,
            ip: row.get("ip")?,
            created_at: row.get("created_at")?,
            last_used_at: row.get("rotated_at")?,
            is_current: Some(id) == current,
        })
    })
}

/// Whether a person has signed in from this address before: a device that is known is not kept out by strangers' tries.
pub(crate) async fn knows_address(
    db: &impl Queries,
    user_id: Uuid,
    ip: Option<IpAddr>,
    since: Timestamp,
) -> Result<bool> {
    let row = db
        .query_one(
            "select exists (select from auth.sessions where user_id = $1 and ip = $2 and created_at > $3)",
            &[&user_id, &ip, &since],
        )
        .await?;
    row.get(0)
}

/// The proof was renewed: sensitive changes are allowed until then, but in no session of a script. The session is what both
/// proofs together make it.
pub(crate) async fn elevate(
    db: &impl Queries,
    id: Uuid,
    until: Timestamp,
    now: Timestamp,
    methods: &[&str],
    aal: i16,
) -> Result<()> {
    db.execute(
        "update auth.sessions set elevated_until = $2, auth_time = $3, aal = greatest(aal, $5), \
           amr = amr || array(select m from unnest($4::text[]) with ordinality as x (m, n) where m <> all (amr) order by n) \
         where id = $1 and revoked_at is null and api_token_id is null",
        &[&id, &until, &now, &methods, &aal],
    )
    .await?;
    Ok(())
}

/// A second factor was shown beside the first.
pub(crate) async fn strengthen(db: &impl Queries, id: Uuid, methods: &[&str]) -> Result<()> {
    db.execute(
        "update auth.sessions set aal = 2, \
           amr = amr || array(select m from unnest($2::text[]) with ordinality as x (m, n) where m <> all (amr) order by n) \
         where id = $1 and revoked_at is null",
        &[&id, &methods],
    )
    .await?;
    Ok(())
}

/// A person has a second factor from now on: what other sessions were allowed by the first alone ends.
pub(crate) async fn lower_others(
    db: &impl Queries,
    user_id: Uuid,
    kept: Option<Uuid>,
    now: Timestamp,
) -> Result<()> {
    db.query(
        "with changed as (\
           update auth.sessions set elevated_until = null, epoch = epoch + 1, epoch_at = $3 \
           where user_id = $1 and id is distinct from $2 and revoked_at is null and elevated_until > $3 \
           returning id, epoch) \
         select pg_notify('auth', 'outdated ' || id || ' ' || epoch) from changed",
        &[&user_id, &kept, &now],
    )
    .await?;
    Ok(())
}

/// Forgets sessions that ended before then, at most so many at once.
pub(crate) async fn forget(db: &impl Queries, before: Timestamp, step: i64) -> Result<u64> {
    db.execute(
        "delete from auth.sessions where id in (\
           select id from auth.sessions where absolute_expiry < $1 or revoked_at < $1 limit $2)",
        &[&before, &step],
    )
    .await
}
