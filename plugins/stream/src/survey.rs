//! What all hosts together have: each is asked, and writes its answer down for who asks.

use std::{collections::BTreeMap, time::Duration};

use nself_plugin_api::{prelude::*, tracing::debug};
use uuid::Uuid;
use wildmatch::WildMatch;

use crate::{Stream, store, told};

/// Pause between two looks at the answers.
const PAUSE: Duration = Duration::from_millis(20);
/// Looks, until a host that says nothing is not waited for any longer.
const LOOKS_MAX: u32 = 250;

/// The channels that somebody is subscribed to anywhere, and how many are; those whose names are like the pattern, where one
/// is given.
///
/// # Errors
///
/// When a host does not answer: less than everything is no answer.
pub(crate) async fn channels(cx: &Cx<Stream>, pattern: &str) -> Result<BTreeMap<String, usize>> {
    let id = Uuid::now_v7();
    told::survey(cx, id).await?;
    let mut looks = 0;
    let answers = loop {
        if let Some(answers) = store::surveys::answers(&cx.db(), id, cx.plugin().node).await? {
            break answers;
        }
        looks += 1;
        if looks >= LOOKS_MAX {
            let error = std::io::Error::other("a host does not say what channels it has");
            return Err(Error::internal(error));
        }
        cx.clock().sleep(PAUSE).await?;
    };
    store::surveys::end(&cx.db(), id).await?;
    let like = WildMatch::new(pattern);
    let mut all = BTreeMap::new();
    for (name, clients) in answers.into_iter().flatten() {
        if pattern.is_empty() || like.matches(&name) {
            *all.entry(name).or_default() += clients;
        }
    }
    Ok(all)
}

/// Writes down what this host has, beside whatever goes on.
pub(crate) fn answer(cx: &Cx<Stream>, id: Uuid) {
    let answering = cx.clone();
    let spawned = cx.tasks().spawn("survey", async move {
        let plugin = answering.plugin();
        let subscribers = plugin.hub.subscribers();
        store::surveys::answer(&answering.db(), id, plugin.node, &subscribers).await
    });
    if let Err(error) = spawned {
        debug!(%error, "a question of another host is not answered");
    }
}
