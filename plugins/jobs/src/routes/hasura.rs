//! Event triggers of Hasura: a row that changed becomes a job. Answered 2xx only when the job is committed: until then Hasura
//! keeps the event and sends it again.

use nself_plugin_api::prelude::*;

use crate::{Jobs, enqueue, hasura, store::enqueue::Receipt};

pub(crate) async fn take(
    cx: Cx<Jobs>,
    Path(kind): Path<String>,
    Body(body): Body,
) -> Result<Data<Receipt>> {
    let job = hasura::job(kind, &body)?;
    enqueue::one(&cx, job).await.map(Data)
}
