//! Mails that the catcher has taken.

use nself_plugin_api::{Result, capability::db::Db, jiff::Timestamp, prelude::*, uuid::Uuid};

/// A caught mail.
#[derive(Debug)]
pub(crate) struct Caught {
    pub id: Uuid,
    pub helo: String,
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    pub data: Vec<u8>,
    pub at: Timestamp,
}

/// A mail on its way into the table.
#[derive(Debug)]
pub(crate) struct NewCaught<'a> {
    pub helo: &'a str,
    pub from: &'a str,
    pub to: &'a [String],
    pub subject: &'a str,
    /// What searches look at.
    pub from_text: &'a str,
    pub to_text: &'a str,
    pub content_text: &'a str,
    pub data: &'a [u8],
    pub at: Timestamp,
}

/// Which caught mails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Search<'a> {
    All,
    From(&'a str),
    To(&'a str),
    Containing(&'a str),
}

/// A page of caught mails, and how many there are in all.
#[derive(Debug)]
pub(crate) struct Page {
    pub total: i64,
    pub items: Vec<Caught>,
}

/// Keeps a mail, and drops the oldest ones beyond `keep`.
pub(crate) async fn insert(db: &Db<'_>, mail: &NewCaught<'_>, keep: u32) -> Result<Uuid> {
    let tx = db.begin().await?;
    let row = tx
        .query_one(
            "insert into mail.caught (helo, envelope_from, envelope_to, subject, from_text, to_text, content_text, data, caught_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
            &[
                &mail.helo,
                &mail.from,
                &mail.to,
                &mail.subject,
                &mail.from_text,
                &mail.to_text,
                &mail.content_text,
                &mail.data,
                &mail.at,
            ],
        )
        .await?;
    tx.execute(
        "delete from mail.caught where id in (select id from mail.caught order by id desc offset $1)",
        &[&i64::from(keep)],
    )
    .await?;
    tx.commit().await?;
    row.get("id")
}

/// Caught mails, newest first.
pub(crate) async fn page(
    db: &impl Queries,
    search: Search<'_>,
    start: i64,
    limit: i64,
) -> Result<Page> {
    let (kind, query) = match search {
        Search::All => ("all", ""),
        Search::From(query) => ("from", query),
        Search::To(query) => ("to", query),
        Search::Containing(query) => ("containing", query),
    };
    let rows = db
        .query(
            "with found as materialized (select id from mail.caught where case $1::text when 'all' then true \
                 when 'from' then strpos(lower(from_text), lower($2)) > 0 \
                 when 'to' then strpos(lower(to_text), lower($2)) > 0 \
                 else strpos(lower(content_text), lower($2)) > 0 end) \
             select (select count(*) from found) as total, c.id, c.helo, c.envelope_from, c.envelope_to, c.subject, c.data, c.caught_at \
             from (select 1) as always left join lateral (select * from mail.caught where id in (select id from found) \
                 order by id desc offset $3 limit $4) c on true order by c.id desc",
            &[&kind, &query, &start.max(0), &limit.max(0)],
        )
        .await?;
    let mut page = Page {
        total: 0,
        items: Vec::with_capacity(rows.len()),
    };
    for row in rows {
        page.total = row.get("total")?;
        if row.get::<Option<Uuid>>("id")?.is_some() {
            page.items.push(read(&row)?);
        }
    }
    Ok(page)
}

pub(crate) async fn find(db: &impl Queries, id: Uuid) -> Result<Option<Caught>> {
    db.query_opt(
        "select id, helo, envelope_from, envelope_to, subject, data, caught_at from mail.caught where id = $1",
        &[&id],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

pub(crate) async fn remove(db: &impl Queries, id: Uuid) -> Result<bool> {
    let changed = db
        .execute("delete from mail.caught where id = $1", &[&id])
        .await?;
    Ok(changed == 1)
}

pub(crate) async fn clear(db: &impl Queries) -> Result<u64> {
    db.execute("delete from mail.caught", &[]).await
}

fn read(row: &Row) -> Result<Caught> {
    Ok(Caught {
        id: row.get("id")?,
        helo: row.get("helo")?,
        from: row.get("envelope_from")?,
        to: row.get("envelope_to")?,
        subject: row.get("subject")?,
        data: row.get("data")?,
        at: row.get("caught_at")?,
    })
}
