//! How what is shown is laid out, on whatever size a terminal has.

use super::{
    digits::{approximate, bytes, ms, percent, rate, time},
    line::{Column, Grid, Line, Part, Tone},
    view::{Jobs, Queue, Requests, Row, View},
};
use crate::plugin::registry::Connections;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Size {
    /// All that there is to show.
    pub(super) const UNLIMITED: Self = Self {
        width: usize::MAX,
        height: usize::MAX,
    };
}

/// The picture: what concerns the host, its plugins, its queues.
pub(super) fn lines(view: &View, size: Size) -> Vec<Line> {
    let mut lines = head(view, size.width);
    let plugins = plugins(&view.plugins).lines(size.width);
    let queues = view
        .jobs
        .as_ref()
        .map(|jobs| queues(&jobs.queues).lines(size.width));
    let queues = queues.unwrap_or_default();
    let room = size.height.saturating_sub(lines.len() + 1);
    // Queues have what the plugins leave, and a third at least, where that is more than their heads.
    let left = (room / 3).max(room.saturating_sub(plugins.len()));
    let for_queues = (queues.len() + 1).min(left);
    let for_queues = if for_queues > 2 { for_queues } else { 0 };
    lines.push(Line::default());
    lines.extend(shortened(plugins, room - for_queues));
    if for_queues > 0 {
        lines.push(Line::default());
        lines.extend(shortened(queues, for_queues - 1));
    }
    lines.truncate(size.height);
    lines.into_iter().map(|line| line.cut(size.width)).collect()
}

/// The heads, the first rows, and how many more there are.
fn shortened(mut lines: Vec<Line>, room: usize) -> Vec<Line> {
    if lines.len() > room && room > 0 {
        let more = lines.len() - (room - 1).max(1);
        lines.truncate(room - 1);
        lines.push(Line(vec![Part::new(format!("({more} more)"), Tone::Faint)]));
    }
    lines.truncate(room);
    lines
}

fn head(view: &View, width: usize) -> Vec<Line> {
    let (host, database) = (&view.host, &view.database);
    let state = match &*database.state {
        "running" => Part::new("running", Tone::Good),
        other => Part::new(other, Tone::Bad),
    };
    let files = format!("files {:.0} of {:.0}", host.open_files, host.open_files_max);
    let mut lines = vec![
        Line::of_facts(
            vec![
                vec![Part::new(format!("nself {}", host.version), Tone::Strong)],
                fact(format!("up {}", time(f64::from(host.uptime_s)))),
                fact(&host.environment),
                fact(host.gateway.as_deref().unwrap_or("no gateway")),
                fact(format!("pid {}", host.pid)),
            ],
            width,
        ),
        Line::of_facts(
            vec![
                titled("process", format!("cpu {}", percent(host.cpu_percent))),
                fact(format!("memory {}", bytes(host.memory_bytes))),
                fact(format!("threads {:.0}", host.threads)),
                fact(files),
                fact(format!("connections {:.0}", host.connections)),
            ],
            width,
        ),
        Line::of_facts(
            vec![
                vec![title("database"), state],
                vec![pool(&database.connections)],
                fact(&database.source),
            ],
            width,
        ),
        Line::of_facts(requests(&view.requests), width),
        Line::of_facts(sockets(view), width),
    ];
    lines.extend(
        view.jobs
            .as_ref()
            .map(|jobs| Line::of_facts(worked(jobs), width)),
    );
    lines
}

fn title(name: &str) -> Part {
    Part::new(format!("{name:<10}"), Tone::Strong)
}

fn titled(name: &str, text: impl AsRef<str>) -> Vec<Part> {
    vec![title(name), Part::plain(text)]
}

fn fact(text: impl AsRef<str>) -> Vec<Part> {
    vec![Part::plain(text)]
}

/// A rate that should be 0, in this tone when it is not.
fn trouble(name: &str, per_s: f64, tone: Tone) -> Vec<Part> {
    let text = format!("{name} {}/s", rate(per_s));
    vec![Part::new(text, tone.unless_zero(per_s))]
}

fn requests(requests: &Requests) -> Vec<Vec<Part>> {
    vec![
        titled("requests", format!("{}/s", rate(requests.per_s))),
        fact(format!("p50 {}", ms(requests.p50_ms))),
        fact(format!("p99 {}", ms(requests.p99_ms))),
        fact(format!("in flight {:.0}", requests.in_flight)),
        trouble("4xx", requests.client_errors_per_s, Tone::Warning),
        trouble("5xx", requests.server_errors_per_s, Tone::Bad),
        trouble("shed", requests.shed_per_s, Tone::Bad),
    ]
}

fn sockets(view: &View) -> Vec<Vec<Part>> {
    let sockets = &view.sockets;
    vec![
        titled("sockets", format!("{:.0} open", sockets.open)),
        fact(format!("topics {:.0}", sockets.topics)),
        fact(format!("frames held {:.0}", sockets.frames)),
        trouble("slow", sockets.slow_per_s, Tone::Warning),
        trouble("dropped", sockets.dropped_per_s, Tone::Warning),
    ]
}

fn worked(jobs: &Jobs) -> Vec<Vec<Part>> {
    vec![
        titled(
            "queues",
            format!("completed {}/s", rate(jobs.completed_per_s)),
        ),
        trouble("failed", jobs.failed_per_s, Tone::Warning),
        trouble("retried", jobs.retried_per_s, Tone::Warning),
        trouble("discarded", jobs.discarded_per_s, Tone::Bad),
    ]
}

fn pool(connections: &Connections) -> Part {
    let Connections {
        busy,
        open,
        max,
        waiting,
    } = connections;
    let text = format!("pool {busy} busy, {open} open of {max}, {waiting} waiting");
    Part::new(text, waited_for(connections))
}

/// The tone of a pool: bad when somebody waits for a connection.
fn waited_for(connections: &Connections) -> Tone {
    match connections.waiting {
        0 => Tone::Plain,
        _ => Tone::Bad,
    }
}

fn column(head: &'static str, is_number: bool, rank: u8) -> Column {
    Column {
        head,
        is_number,
        rank,
    }
}

fn plugins(rows: &[Row]) -> Grid {
    let mut grid = Grid::new(&[
        column("PLUGIN", false, 0),
        column("STATE", false, 1),
        column("ISOLATION", false, 9),
        column("REQ/S", true, 2),
        column("P50", true, 6),
        column("P99", true, 4),
        column("IN FLIGHT", true, 7),
        column("4XX/S", true, 5),
        column("5XX/S", true, 3),
        column("PANICS", true, 10),
        column("RESTARTS", true, 8),
        column("DB", true, 11),
        column("MEMORY", true, 12),
        column("NOTE", false, 13),
    ]);
    for row in rows {
        grid.row(plugin(row));
    }
    grid
}

fn plugin(row: &Row) -> Vec<Part> {
    let Row { requests, .. } = row;
    let state = match &*row.state {
        "started" => Tone::Good,
        "failed" | "quarantined" => Tone::Bad,
        "degraded" | "draining" => Tone::Warning,
        _ => Tone::Faint,
    };
    let per_s = |number: f64, tone: Tone| Part::new(rate(number), tone.unless_zero(number));
    let pool = row.connections.map_or_else(
        || Part::plain("-"),
        |pool| Part::new(format!("{}/{}", pool.busy, pool.max), waited_for(&pool)),
    );
    let memory = row.memory_bytes.map(approximate);
    vec![
        Part::plain(&row.id),
        Part::new(&row.state, state),
        Part::plain(row.isolation.as_deref().unwrap_or("-")),
        per_s(requests.per_s, Tone::Plain),
        Part::plain(ms(requests.p50_ms)),
        Part::plain(ms(requests.p99_ms)),
        count(requests.in_flight, Tone::Plain),
        per_s(requests.client_errors_per_s, Tone::Warning),
        per_s(requests.server_errors_per_s, Tone::Bad),
        count(row.panics, Tone::Bad),
        count(row.restarts, Tone::Warning),
        pool,
        Part::plain(memory.map_or_else(|| "-".to_owned(), bytes)),
        Part::plain(row.reason.as_deref().unwrap_or_default()),
    ]
}

fn queues(queues: &[Queue]) -> Grid {
    let mut grid = Grid::new(&[
        column("QUEUE", false, 0),
        column("READY", true, 1),
        column("RUNNING", true, 2),
        column("RETRYING", true, 4),
        column("DEAD", true, 3),
        column("SCHEDULED", true, 5),
        column("OLDEST", true, 6),
        column("NOTE", false, 7),
    ]);
    for queue in queues {
        let note = if queue.is_paused { "paused" } else { "" };
        grid.row(vec![
            Part::plain(&queue.name),
            count(queue.available, Tone::Plain),
            count(queue.running, Tone::Plain),
            count(queue.retryable, Tone::Warning),
            count(queue.discarded, Tone::Bad),
            count(queue.scheduled, Tone::Plain),
            Part::plain(time(queue.oldest_s)),
            Part::new(note, Tone::Warning),
        ]);
    }
    grid
}

/// A number in this tone, unless it is 0.
fn count(number: f64, tone: Tone) -> Part {
    Part::new(format!("{number:.0}"), tone.unless_zero(number))
}

#[cfg(test)]
mod tests;
