//! All SQL of the plugin. Row-level security adds the family to every statement of a handler: see the migration.

use nself_plugin_api::{
    capability::events::{NewEvent, emit_in},
    prelude::*,
    serde_json::json,
    uuid::Uuid,
};

use crate::note::{Draft, Note};

fn read(row: &Row) -> Result<Note> {
    Ok(Note {
        id: row.get("id")?,
        title: row.get("title")?,
        body: row.get("body")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

pub(crate) async fn page(db: &impl Queries, before: Option<Uuid>, size: u32) -> Result<Vec<Note>> {
    db.query(
        "select id, title, body, created_by, created_at, updated_at from hello.notes \
         where removed_at is null and ($1::uuid is null or id < $1) order by id desc limit $2",
        &[&before, &i64::from(size)],
    )
    .await?
    .map(read)
}

pub(crate) async fn find(db: &impl Queries, id: Uuid) -> Result<Option<Note>> {
    db.query_opt(
        "select id, title, body, created_by, created_at, updated_at from hello.notes where id = $1 and removed_at is null",
        &[&id],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

pub(crate) async fn insert(
    db: &impl Queries,
    family: Uuid,
    author: Option<Uuid>,
    draft: &Draft,
) -> Result<Note> {
    let row = db
        .query_one(
            "insert into hello.notes (family_id, created_by, title, body) values ($1, $2, $3, $4) \
             returning id, title, body, created_by, created_at, updated_at",
            &[&family, &author, &draft.title, &draft.body],
        )
        .await?;
    read(&row)
}

pub(crate) async fn update(db: &impl Queries, id: Uuid, draft: &Draft) -> Result<Option<Note>> {
    db.query_opt(
        "update hello.notes set title = $2, body = $3, updated_at = now() where id = $1 and removed_at is null \
         returning id, title, body, created_by, created_at, updated_at",
        &[&id, &draft.title, &draft.body],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

pub(crate) async fn remove(db: &impl Queries, id: Uuid) -> Result<bool> {
    let changed = db
        .execute(
            "update hello.notes set removed_at = now() where id = $1 and removed_at is null",
            &[&id],
        )
        .await?;
    Ok(changed == 1)
}

/// Forgets at most `limit` notes that were removed more than `days` ago; how many.
pub(crate) async fn forget(db: &impl Queries, days: u32, limit: i64) -> Result<u64> {
    let row = db
        .query_one(
            "select hello.forget_removed($1, $2)",
            &[&i64::from(days), &limit],
        )
        .await?;
    Ok(row.get::<i64>(0)?.unsigned_abs())
}

/// Tells the log that a note was written: in the same transaction, so that it is told exactly when it was.
pub(crate) async fn announce(db: &impl Queries, family: Uuid, note: &Note) -> Result<()> {
    let data = json!({"id": note.id, "title": note.title});
    let subject = note.id.to_string();
    emit_in(
        db,
        NewEvent {
            kind: "hello.note_written",
            subject: &subject,
            data,
            family_id: Some(family),
        },
    )
    .await?;
    Ok(())
}
