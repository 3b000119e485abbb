//! Taking reports: of one worker, or many in one commit.

use std::collections::{HashMap, HashSet};

use nself_plugin_api::{prelude::*, tracing::warn, uuid::Uuid};

use super::{
    option,
    report::{Answered, Line, Report, Said},
};
use crate::{
    Jobs,
    engine::is_refused,
    error::JobError,
    store::{
        self,
        finish::Ending,
        pull::{Beat, Settled},
    },
};

/// Most reports of one batch.
const REPORTS_MAX: usize = 1_000;

type Answers = HashMap<Uuid, Answered>;

/// One report; an error when it changed nothing.
pub(crate) async fn one(cx: &Cx<Jobs>, report: Report) -> Result<Answered> {
    let lease = report.lease;
    let answered = match report.check()? {
        Said::Beat(beat) => beats(cx, &[beat]).await?.remove(&lease),
        Said::Logs(lines) => logs(cx, lease, &lines).await?,
        Said::Ended(ending) => endings(cx, &[(lease, ending)]).await?.remove(&lease),
    };
    answered.ok_or_else(|| JobError::LeaseLost.into())
}

/// Many reports, each with its answer: lines and heartbeats first, then how jobs ended, all of them in one commit.
pub(crate) async fn many(cx: &Cx<Jobs>, reports: Vec<Report>) -> Result<Vec<Answered>> {
    if reports.is_empty() || reports.len() > REPORTS_MAX {
        return Err(option("the body", "a list of 1 to 1000 reports"));
    }
    let mut answers = Vec::with_capacity(reports.len());
    let (mut alive, mut over, mut ended) = (Vec::new(), Vec::new(), HashSet::new());
    for (at, report) in reports.into_iter().enumerate() {
        let lease = report.lease;
        answers.push(Answered::refused(lease, &JobError::LeaseLost.into()));
        match report.check() {
            Ok(Said::Beat(beat)) => alive.push((at, beat)),
            Ok(Said::Logs(lines)) => {
                if let Some(answer) = logs(cx, lease, &lines).await? {
                    answers[at] = answer;
                }
            }
            Ok(Said::Ended(said)) if ended.insert(lease) => over.push((at, (lease, said))),
            // Whoever ends a job twice has lost it with the first time.
            Ok(Said::Ended(_)) => {}
            Err(error) => answers[at] = Answered::refused(lease, &error),
        }
    }
    let (places, alive): (Vec<usize>, Vec<Beat>) = alive.into_iter().unzip();
    put(&mut answers, &places, beats(cx, &alive).await?);
    let (places, over): (Vec<usize>, Vec<(Uuid, Ending)>) = over.into_iter().unzip();
    put(&mut answers, &places, endings(cx, &over).await?);
    Ok(answers)
}

fn put(answers: &mut [Answered], places: &[usize], mut by_lease: Answers) {
    for at in places {
        if let Some(answer) = by_lease.remove(&answers[*at].lease) {
            answers[*at] = answer;
        }
    }
}

async fn beats(cx: &Cx<Jobs>, beats: &[Beat]) -> Result<Answers> {
    if beats.is_empty() {
        return Ok(Answers::new());
    }
    let alive = store::pull::beat(&cx.db(), beats).await?;
    let answers = alive.into_iter().map(|alive| (alive.lease, alive.into()));
    Ok(answers.collect())
}

async fn logs(cx: &Cx<Jobs>, lease: Uuid, lines: &[Line]) -> Result<Option<Answered>> {
    let levels: Vec<&str> = lines.iter().map(Line::level).collect();
    let messages: Vec<String> = lines.iter().map(Line::message).collect();
    let is_held = store::logs::append_fetched(&cx.db(), lease, &levels, &messages).await?;
    Ok(is_held.then(|| Answered::nothing(lease)))
}

async fn endings(cx: &Cx<Jobs>, endings: &[(Uuid, Ending)]) -> Result<Answers> {
    if endings.is_empty() {
        return Ok(Answers::new());
    }
    let settled = match store::pull::settle(&cx.db(), endings).await {
        Err(error) if is_refused(&error) => one_by_one(cx, endings).await?,
        other => other?,
    };
    let queues: Vec<i16> = settled.iter().map(|settled| settled.queue).collect();
    cx.plugin().engine.pulls.freed(&queues);
    let observed = &cx.plugin().observed;
    for settled in &settled {
        let kind = observed.kind(cx, &settled.kind);
        kind.settled(&settled.state, settled.held_seconds);
    }
    if observed.is_watched() {
        let said: HashMap<Uuid, &Ending> = endings.iter().map(|(id, said)| (*id, said)).collect();
        for settled in &settled {
            let said = said.get(&settled.lease);
            observed.reported(settled, said.map_or(&[], |said| &said.error));
        }
    }
    let answers = settled
        .into_iter()
        .map(|settled| (settled.lease, settled.into()));
    Ok(answers.collect())
}

/// After the database refused them together: each on its own, and the one that is to blame is discarded.
async fn one_by_one(cx: &Cx<Jobs>, endings: &[(Uuid, Ending)]) -> Result<Vec<Settled>> {
    let mut all = Vec::with_capacity(endings.len());
    for (lease, ending) in endings {
        let settled = match store::pull::settle(&cx.db(), &[(*lease, ending.clone())]).await {
            Err(error) if is_refused(&error) => {
                warn!(error = %error, cause = error.cause(), "the ending of a fetched job cannot be stored");
                store::pull::settle(&cx.db(), &[(*lease, Ending::refused(0))]).await?
            }
            other => other?,
        };
        all.extend(settled);
    }
    Ok(all)
}
