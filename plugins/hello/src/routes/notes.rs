//! `/hello/notes`.

use nself_plugin_api::{prelude::*, uuid::Uuid};

use crate::{
    Hello,
    note::{Draft, Note, Page},
    store,
};

fn missing() -> Error {
    Error::not_found("NOTE_NOT_FOUND", "there is no such note in this family")
}

pub(crate) async fn list(
    cx: Cx<Hello>,
    principal: Principal,
    Query(page): Query<Page>,
) -> Result<Data<Vec<Note>>> {
    let tx = cx.db().begin_as(&principal).await?;
    let notes = store::page(&tx, page.before, cx.plugin().config.page_size).await?;
    tx.commit().await?;
    Ok(Data(notes))
}

pub(crate) async fn create(
    cx: Cx<Hello>,
    principal: Principal,
    Json(draft): Json<Draft>,
) -> Result<Created<Note>> {
    draft.check()?;
    let family = principal.family()?;
    let tx = cx.db().begin_as(&principal).await?;
    let note = store::insert(&tx, family, principal.user_id, &draft).await?;
    store::announce(&tx, family, &note).await?;
    tx.commit().await?;
    Ok(Created(note))
}

pub(crate) async fn show(
    cx: Cx<Hello>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Data<Note>> {
    let tx = cx.db().begin_as(&principal).await?;
    let note = store::find(&tx, id).await?;
    tx.commit().await?;
    note.map(Data).ok_or_else(missing)
}

pub(crate) async fn change(
    cx: Cx<Hello>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(draft): Json<Draft>,
) -> Result<Data<Note>> {
    draft.check()?;
    let tx = cx.db().begin_as(&principal).await?;
    let note = store::update(&tx, id, &draft).await?;
    tx.commit().await?;
    note.map(Data).ok_or_else(missing)
}

pub(crate) async fn remove(
    cx: Cx<Hello>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<NoContent> {
    let tx = cx.db().begin_as(&principal).await?;
    let removed = store::remove(&tx, id).await?;
    tx.commit().await?;
    if removed {
        Ok(NoContent)
    } else {
        Err(missing())
    }
}
