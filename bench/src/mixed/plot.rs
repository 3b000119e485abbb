//! Lines over time as SVG: axes with round numbers, and a mark for each exchange of a version.

use std::fmt::{self, Display, Formatter};

use super::{Run, samples::Sample};

/// The size of a plot, and what is left of it beside the lines.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 26.0;

/// Steps that an axis is divided into, about.
const STEPS: f64 = 5.0;

/// How the values lie on their axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    FromZero,
    /// For what is a hundred times as much now and then.
    Logarithmic,
}

/// One line.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) of: fn(&Sample) -> f64,
}

/// What is drawn together.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) about: &'static str,
    pub(super) scale: Scale,
    pub(super) lines: &'static [Line],
}

/// A plot of what a run has seen.
pub(super) struct Drawn<'a> {
    pub(super) plot: &'a Plot,
    pub(super) run: &'a Run,
}

impl Display for Drawn<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let title = self.plot.title;
        writeln!(
            f,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title} over time\">"
        )?;
        let values = Axis::of_values(self.plot, self.run);
        let times = Axis::of_times(self.run.seconds);
        for value in values.ticks() {
            let y = values.place(value);
            writeln!(
                f,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                number(value)
            )?;
        }
        let (minutes, unit) = if self.run.seconds >= 180.0 {
            (60.0, "min")
        } else {
            (1.0, "s")
        };
        for time in times.ticks() {
            let (x, label) = (times.place(time), number(time / minutes));
            let unit = if time == 0.0 { unit } else { "" };
            writeln!(
                f,
                "<text class=\"x\" x=\"{x:.1}\" y=\"{}\">{label} {unit}</text>",
                HEIGHT - 7.0
            )?;
        }
        self.marks(f, &times)?;
        for (line, class) in self.plot.lines.iter().zip(["a", "b"]) {
            let points = self.run.samples.iter().map(|sample| {
                let (x, y) = (times.place(sample.at), values.place((line.of)(sample)));
                format!("{x:.1},{y:.1}")
            });
            let points = points.collect::<Vec<_>>().join(" ");
            writeln!(f, "<polyline class=\"{class}\" points=\"{points}\"/>")?;
        }
        writeln!(f, "</svg>")
    }
}

impl Drawn<'_> {
    /// Where versions were exchanged.
    fn marks(&self, f: &mut Formatter<'_>, times: &Axis) -> fmt::Result {
        for (at, exchange) in &self.run.exchanges {
            let (x, plugin) = (times.place(*at), exchange.plugin);
            writeln!(
                f,
                "<path class=\"mark\" d=\"M{x:.1} {TOP}V{}\"/><text class=\"mark\" x=\"{x:.1}\" y=\"{}\">{plugin}</text>",
                HEIGHT - BOTTOM,
                TOP - 6.0
            )?;
        }
        Ok(())
    }
}

/// From a range of numbers to a range of places.
struct Axis {
    scale: Scale,
    step: f64,
    /// The least and the most.
    range: (f64, f64),
    places: (f64, f64),
}

impl Axis {
    fn of_values(plot: &Plot, run: &Run) -> Self {
        let of_sample = |sample| plot.lines.iter().map(move |line| (line.of)(sample));
        let values = || run.samples.iter().flat_map(of_sample);
        let most = values().fold(0.0, f64::max);
        let places = (HEIGHT - BOTTOM, TOP);
        if plot.scale == Scale::Logarithmic {
            let least = values().filter(|value| *value > 0.0).fold(most, f64::min);
            let exponents = (least.log10().floor(), most.log10().ceil());
            return Self {
                scale: plot.scale,
                step: 1.0,
                range: (exponents.0, exponents.1.max(exponents.0 + 1.0)),
                places,
            };
        }
        let step = round_step(most);
        Self {
            scale: plot.scale,
            step,
            range: (0.0, step * (most / step * 1.001).ceil().max(1.0)),
            places,
        }
    }

    fn of_times(seconds: f64) -> Self {
        Self {
            scale: Scale::FromZero,
            step: if seconds >= 180.0 {
                round_step(seconds / 60.0) * 60.0
            } else {
                round_step(seconds)
            },
            range: (0.0, seconds),
            places: (LEFT, WIDTH - RIGHT),
        }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (least, most) = self.range;
        let steps = (0_u32..).map(move |step| least + self.step * f64::from(step));
        let ticks = steps.take_while(move |tick| *tick <= most * 1.001);
        ticks.map(|tick| match self.scale {
            Scale::FromZero => tick,
            Scale::Logarithmic => 10_f64.powf(tick),
        })
    }

    fn place(&self, value: f64) -> f64 {
        let (least, most) = self.range;
        let value = match self.scale {
            Scale::FromZero => value,
            Scale::Logarithmic => value.log10(),
        };
        let part = ((value - least) / (most - least)).clamp(0.0, 1.0);
        self.places.0 + part * (self.places.1 - self.places.0)
    }
}

/// A step of 1, 2 or 5 and zeros, some of which reach so far.
fn round_step(most: f64) -> f64 {
    let step = (most / STEPS).max(0.001);
    let size = 10_f64.powf(step.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * size);
    steps
        .into_iter()
        .find(|round| *round >= step)
        .unwrap_or(step)
}

/// As short as it can be said.
pub(super) fn number(value: f64) -> String {
    let digits = if value.fract().abs() < 1e-9 || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_step(most: f64, expected: f64) {
        assert!((round_step(most) - expected).abs() < 1e-9, "{most}");
    }

    #[test]
    fn steps_of_an_axis_are_round() {
        check_step(97.3, 20.0);
        check_step(10.0, 2.0);
        check_step(0.4, 0.1);
        check_step(2_400.0, 500.0);
    }

    #[test]
    fn values_lie_between_the_ends_of_their_axis() {
        let axis = Axis {
            scale: Scale::Logarithmic,
            step: 1.0,
            range: (0.0, 2.0),
            places: (200.0, 0.0),
        };
        let places = [0.5, 1.0, 10.0, 100.0].map(|value| format!("{:.0}", axis.place(value)));
        assert_eq!(places, ["200", "200", "100", "0"]);
        assert_eq!(
            axis.ticks().map(number).collect::<Vec<_>>(),
            ["1", "10", "100"]
        );
    }
}
