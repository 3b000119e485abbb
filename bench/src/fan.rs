//! One message to a thousand sockets: the stream plugin with tokens and subscriptions, the host's hub alone, and the servers that people
//! would take otherwise, beside one that does nothing but write. CPU is the server's, on the first core; the clients have the other one.

mod audience;
mod bare;
mod coming_back;
mod delivery;
mod dialect;
mod frames;
mod sides;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep_until};

pub(crate) use self::bare::{BARE, serve as serve_bare};
use self::{audience::Audience, sides::Side};
use crate::{
    Result, cpu,
    report::{Report, Spread, at_most, quantile},
};

/// Everybody who is connected.
const SUBSCRIBERS: usize = 1_000;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 128;
const ROUNDS: u32 = 5;
/// Connections that a round makes.
const ARRIVALS: usize = 500;
/// Messages of a round that come at a steady pace, and the time between two.
const PACED: usize = 100;
const PACE: Duration = Duration::from_millis(100);

/// What is compared: higher is better but for the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    OneInFlight,
    ManyInFlight,
    Connects,
    Paced,
}

impl Figure {
    const ALL: [Self; 4] = [
        Self::OneInFlight,
        Self::ManyInFlight,
        Self::Connects,
        Self::Paced,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::OneInFlight => "1 in flight, deliveries per second of CPU",
            Self::ManyInFlight => "64 in flight, deliveries per second of CPU",
            Self::Connects => "connections per second of CPU",
            Self::Paced => "10 messages a second, p99 of their deliveries",
        }
    }

    /// What is expected of `ours` beside `peer`.
    fn goal(self, ours: &str, peer: &str) -> &'static str {
        match (self, ours, peer) {
            (Self::OneInFlight, _, "bare") => ">= 0.85x",
            (Self::OneInFlight, _, "nchan") => ">= 1.2x",
            (Self::ManyInFlight, _, "bare") => ">= 0.60x",
            (Self::ManyInFlight, _, "nchan") => ">= 20x",
            (Self::Connects, "stream", "bare") => ">= 0.5x",
            (Self::Paced, "stream", "ws" | "socket.io" | "nchan" | "Bun") => "<= 1x",
            _ => "",
        }
    }

    async fn of(self, side: &mut Side) -> Result<f64> {
        match self {
            Self::OneInFlight => deliveries(side, 1, at_most(100)).await,
            Self::ManyInFlight => deliveries(side, 64, at_most(20)).await,
            Self::Connects => connects(side).await,
            Self::Paced => paced(side).await,
        }
    }
}

pub(crate) async fn measure(report: &mut Report, rounds: Option<u32>) -> Result<()> {
    cpu::pin(None, 1)?;
    let rounds = at_most(rounds.unwrap_or(ROUNDS));
    let mut sides = Vec::new();
    for (name, started) in [
        ("stream", Side::stream().await),
        ("the hub", Side::hub().await),
        ("bare", Side::bare().await),
        ("ws", Side::ws().await),
        ("socket.io", Side::socket_io().await),
        ("nchan", Side::nchan().await),
        ("Bun", Side::bun().await),
    ] {
        match started {
            Ok(side) => sides.push(side),
            Err(failure) => report.failed(&format!("stream: {name}"), &*failure),
        }
    }
    for side in &mut sides {
        let bytes = fill(side).await?;
        report.text(
            &format!(
                "stream: resident bytes of an idle connection, {}",
                side.name
            ),
            format!("{bytes:.0}"),
            if side.name == "stream" { "<= 3000" } else { "" },
        );
    }
    for figure in Figure::ALL {
        compare(report, &mut sides, figure, rounds).await?;
    }
    let Some(ours) = sides.iter_mut().find(|side| side.name == "stream") else {
        return Ok(());
    };
    delivery::measure(report, ours, rounds).await?;
    coming_back::measure(report, ours, rounds).await
}

/// All sides in turns, forwards and backwards.
async fn compare(
    report: &mut Report,
    sides: &mut [Side],
    figure: Figure,
    rounds: u32,
) -> Result<()> {
    let mut figures = BTreeMap::<&str, Vec<f64>>::new();
    for round in 0..=rounds {
        sides.reverse();
        for side in &mut *sides {
            let measured = figure.of(side).await?;
            // The first one warms up.
            if round > 0 {
                figures.entry(side.name).or_default().push(measured);
            }
        }
    }
    let name = figure.name();
    let unit = if figure == Figure::Paced { "ms" } else { "" };
    for (side, figures) in &figures {
        let spread = Spread::of(figures.iter().copied());
        report.spread(&format!("stream: {name}, {side}"), spread, unit, "");
    }
    for ours in ["stream", "the hub"] {
        for (peer, theirs) in &figures {
            let is_peer = *peer != "stream" && *peer != "the hub";
            let Some(figures) = figures.get(ours).filter(|_| is_peer) else {
                continue;
            };
            let ratios = figures
                .iter()
                .zip(theirs)
                .map(|(ours, theirs)| ours / theirs);
            report.spread(
                &format!("stream: {name}, {ours} of {peer}"),
                Spread::of(ratios),
                "x",
                figure.goal(ours, peer),
            );
        }
    }
    Ok(())
}

/// Connects everybody; what that costs the server for each, in bytes.
async fn fill(side: &mut Side) -> Result<f64> {
    // What the first connections make is there for all.
    drop(Audience::open(&side.entrance, 0..SUBSCRIBERS / 10, None).await?);
    let before = side.resident_kib()?;
    let audience = Audience::open(&side.entrance, 0..SUBSCRIBERS, None).await?;
    let after = side.resident_kib()?;
    side.audience = Some(audience);
    let kib = u32::try_from(after.saturating_sub(before))?;
    Ok(f64::from(kib) * 1_024.0 / f64::from(u32::try_from(SUBSCRIBERS)?))
}

async fn deliveries(side: &mut Side, window: usize, times: usize) -> Result<f64> {
    let before = side.time()?;
    for _ in 0..times {
        side.hear(window).await?;
    }
    let used = side.time()?.saturating_sub(before);
    Ok(f64::from(u32::try_from(SUBSCRIBERS * window * times)?) / used.as_secs_f64())
}

async fn connects(side: &mut Side) -> Result<f64> {
    let before = side.time()?;
    let numbers = SUBSCRIBERS..SUBSCRIBERS + ARRIVALS;
    let arrived = Audience::open(&side.entrance, numbers, None).await?;
    let used = side.time()?.saturating_sub(before);
    drop(arrived);
    // They shall be gone before something else is measured.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(f64::from(u32::try_from(ARRIVALS)?) / used.as_secs_f64())
}

/// Milliseconds from the moment when a message was sent to its delivery, of the slowest hundredth.
async fn paced(side: &mut Side) -> Result<f64> {
    let mut latencies = Vec::new();
    let mut next = Instant::now();
    for _ in 0..at_most(PACED) {
        next += PACE;
        sleep_until(next).await;
        if let Some(audience) = &side.audience {
            audience.note(true);
        }
        let sent = std::time::Instant::now();
        side.hear(1).await?;
        let arrivals = side.audience.as_ref().map(|audience| audience.note(false));
        let late = arrivals.into_iter().flatten();
        latencies.extend(late.map(|arrival| (arrival - sent).as_secs_f64() * 1e3));
    }
    latencies.sort_by(f64::total_cmp);
    Ok(quantile(&latencies, 99))
}
