//! Queues that workers fetch from.

use nself_plugin_api::prelude::*;

use crate::{
    Jobs,
    pull::{self, FetchRequest, Fetched},
};

pub(crate) async fn fetch(
    cx: Cx<Jobs>,
    Path(queue): Path<String>,
    Json(request): Json<FetchRequest>,
) -> Result<Data<Vec<Fetched>>> {
    pull::fetch(&cx, &queue, &request).await.map(Data)
}
