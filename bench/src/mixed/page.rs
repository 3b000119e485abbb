//! One file for a person to look at: the figures that count, the plots, and all that was found. It needs nothing else to be shown.

use std::{fs, path::Path};

use super::{
    Exchange, Run,
    plot::{Drawn, Line, Plot, Scale, number},
    samples::Sample,
    verdict::{Row, Verdict},
};
use crate::{Result, report::Spread};

const STYLE: &str = include_str!("page.css");

const PLOTS: [Plot; 8] = [
    Plot {
        title: "Memory of the host",
        unit: "MiB",
        about: "Each version of a plugin is mapped once and stays.",
        scale: Scale::FromZero,
        lines: &[
            Line {
                name: "resident",
                of: |sample| sample.resident,
            },
            Line {
                name: "anonymous",
                of: |sample| sample.anonymous,
            },
        ],
    },
    Plot {
        title: "Time to an answer",
        unit: "ms",
        about: "From when a request was to come, whatever the ones before it took. Logarithmic.",
        scale: Scale::Logarithmic,
        lines: &[
            Line {
                name: "99 of 100",
                of: |sample| sample.p99,
            },
            Line {
                name: "half of them",
                of: |sample| sample.p50,
            },
        ],
    },
    Plot {
        title: "Requests",
        unit: "a second",
        about: "Sign-ins, notes, jobs, workflows, mails and publications, at a fixed rate.",
        scale: Scale::FromZero,
        lines: &[
            Line {
                name: "answered",
                of: |sample| sample.rate,
            },
            Line {
                name: "failed",
                of: |sample| f64::from(sample.failed),
            },
        ],
    },
    Plot {
        title: "CPU",
        unit: "% of a core",
        about: "The callers share the machine.",
        scale: Scale::FromZero,
        lines: &[
            Line {
                name: "host",
                of: |sample| sample.host_cpu,
            },
            Line {
                name: "database",
                of: |sample| sample.cluster_cpu,
            },
        ],
    },
    Plot {
        title: "Descriptors and connections",
        unit: "",
        about: "A subscriber is a descriptor of the host, and so is each of its connections to the database.",
        scale: Scale::FromZero,
        lines: &[
            Line {
                name: "open descriptors",
                of: |sample| sample.descriptors,
            },
            Line {
                name: "connections to the database",
                of: |sample| sample.connections,
            },
        ],
    },
    Plot {
        title: "Threads and mapped plugins",
        unit: "",
        about: "Two files of each plugin are mapped when it begins.",
        scale: Scale::FromZero,
        lines: &[
            Line {
                name: "threads",
                of: |sample| sample.threads,
            },
            Line {
                name: "files",
                of: |sample| sample.libraries,
            },
        ],
    },
    Plot {
        title: "Tables through which work passes",
        unit: "MiB",
        about: "Queues, leases, outboxes, presence: what comes goes.",
        scale: Scale::FromZero,
        lines: &[Line {
            name: "with indexes",
            of: |sample| sample.passed,
        }],
    },
    Plot {
        title: "Database",
        unit: "MiB",
        about: "History grows by design until its days are over.",
        scale: Scale::FromZero,
        lines: &[
            Line {
                name: "all of it",
                of: |sample| sample.database,
            },
            Line {
                name: "history that is kept",
                of: |sample| sample.kept,
            },
        ],
    },
];

/// Writes the page.
pub(super) fn write(path: &Path, run: &Run, verdict: &Verdict) -> Result<()> {
    let figures: String = PLOTS.iter().map(|plot| figure(plot, run)).collect();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>A small server for {length}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>A small server for {length}</h1>\n\
         <p>All plugins in one process under a steady load; at each dashed line a version of one is exchanged.</p>\n</header>\n\
         <dl>\n{tiles}</dl>\n<main>\n{figures}</main>\n{table}{exchanges}</body>\n</html>\n",
        length = span(run.seconds),
        tiles = tiles(run, verdict)?,
        table = table(verdict),
        exchanges = exchanges(run),
    );
    Ok(fs::write(path, page)?)
}

fn span(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{} seconds", number(seconds))
    } else {
        format!("{} minutes", number(seconds / 60.0))
    }
}

/// What somebody wants to know first.
fn tiles(run: &Run, verdict: &Verdict) -> Result<String> {
    let ratio = |of: fn(&Sample) -> f64| -> Result<f64> {
        let (early, late) = run.ends(of)?;
        Ok(late / early)
    };
    let clean = run.exchanges.iter();
    let clean = clean
        .filter(|(_, exchange)| exchange.clean == Ok(true))
        .count();
    let exchanges = run.exchanges.len();
    let (memory, tables) = (
        ratio(|sample| sample.resident)?,
        ratio(|sample| sample.passed)?,
    );
    let descriptors = ratio(|sample| sample.descriptors)?;
    let rate = Spread::of(run.samples.iter().map(|sample| sample.rate)).median;
    Ok([
        tile(&format!("{rate:.0}/s"), "requests", true),
        tile(&verdict.failed.to_string(), "failed", verdict.failed == 0),
        tile(
            &verdict.lost.to_string(),
            "lost jobs, messages, mails",
            verdict.lost == 0,
        ),
        tile(
            &format!("{clean} of {exchanges}"),
            "clean exchanges",
            clean == exchanges,
        ),
        tile(
            &format!("{memory:.2} x"),
            "memory, end to start",
            memory <= 1.05,
        ),
        tile(
            &format!("{descriptors:.2} x"),
            "descriptors, end to start",
            descriptors <= 1.05,
        ),
        tile(
            &format!("{tables:.2} x"),
            "tables, end to start",
            tables <= 1.1,
        ),
    ]
    .concat())
}

fn tile(value: &str, name: &str, is_good: bool) -> String {
    let class = if is_good { "good" } else { "bad" };
    format!("<div class=\"{class}\"><dt>{name}</dt><dd>{value}</dd></div>\n")
}

/// A plot with its legend, in which the least, the most and the last value stand.
fn figure(plot: &Plot, run: &Run) -> String {
    let keys = plot.lines.iter().zip(["a", "b"]).map(|(line, class)| {
        let values = || run.samples.iter().map(line.of);
        let (least, most) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(0.0, f64::max),
        );
        format!(
            "<span class=\"key {class}\">{} <b>{}</b> ({} to {})</span>\n",
            line.name,
            number(values().next_back().unwrap_or_default()),
            number(least),
            number(most)
        )
    });
    let Plot {
        title, unit, about, ..
    } = plot;
    format!(
        "<figure>\n<figcaption><h2>{title} <small>{unit}</small></h2>\n{}</figcaption>\n{}<p>{about}</p>\n</figure>\n",
        keys.collect::<String>(),
        Drawn { plot, run }
    )
}

fn table(verdict: &Verdict) -> String {
    let rows = verdict.rows.iter().map(|Row { name, value, goal }| {
        format!(
            "<tr><td>{name}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(value),
            escaped(goal)
        )
    });
    format!(
        "<section>\n<h2>All figures</h2>\n<table>\n<tr><th>what</th><th>found</th><th>goal</th></tr>\n{}</table>\n</section>\n",
        rows.collect::<String>()
    )
}

fn exchanges(run: &Run) -> String {
    let rows = run.exchanges.iter().map(|(at, Exchange { plugin, took, clean })| {
        let outcome = match clean {
            Ok(true) => "nothing was cut off".to_owned(),
            Ok(false) => "something was cut off".to_owned(),
            Err(failure) => escaped(failure),
        };
        let millis = took.as_millis();
        format!("<tr><td>{at:.0} s</td><td>{plugin}</td><td>{millis} ms</td><td>{outcome}</td></tr>\n")
    });
    format!(
        "<section>\n<h2>Exchanges</h2>\n<table>\n<tr><th>at</th><th>plugin</th><th>took</th><th></th></tr>\n{}</table>\n</section>\n",
        rows.collect::<String>()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
