//! Figures: medians with their quartiles, each beside its goal.

use std::{error::Error, fmt};

/// Median and quartiles of measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// # Panics
    ///
    /// Without a measurement.
    pub(crate) fn of(measurements: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measurements.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            low: quantile(&sorted, 25),
            median: quantile(&sorted, 50),
            high: quantile(&sorted, 75),
        }
    }
}

/// The value below which so many percent of the sorted measurements lie.
pub(crate) fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len() - 1);
    sorted[at]
}

/// A build without optimisation only shows that the benchmark works: a few rounds will do.
pub(crate) fn at_most<N: From<u8> + Ord>(rounds: N) -> N {
    if cfg!(debug_assertions) {
        rounds.min(N::from(4))
    } else {
        rounds
    }
}

struct Figure {
    name: String,
    value: String,
    goal: &'static str,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    /// A figure with its quartiles.
    pub(crate) fn spread(&mut self, name: &str, spread: Spread, unit: &str, goal: &'static str) {
        let Spread { low, median, high } = spread;
        let digits = if median.abs() < 10.0 { 3 } else { 1 };
        self.text(
            name,
            format!("{median:.digits$} {unit} ({low:.digits$} to {high:.digits$})"),
            goal,
        );
    }

    /// A figure that is one number or a few words.
    pub(crate) fn text(&mut self, name: &str, value: impl Into<String>, goal: &'static str) {
        let value = value.into();
        eprintln!("  {name}: {value}");
        self.0.push(Figure {
            name: name.to_owned(),
            value,
            goal,
        });
    }

    /// A part that broke off.
    pub(crate) fn failed(&mut self, part: &str, failure: &(dyn Error + Send + Sync)) {
        self.text(part, format!("broke off: {failure}"), "");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | median (p25 to p75) | goal |\n|---|---|---|")?;
        for Figure { name, value, goal } in &self.0 {
            writeln!(f, "| {name} | {value} | {goal} |")?;
        }
        Ok(())
    }
}

/// What two sides took, round by round; they take turns in going first.
#[derive(Default)]
pub(crate) struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Measures `native` and `plugin` in turns, `rounds` times, after one round that only warms up.
    pub(crate) async fn measure(
        rounds: usize,
        mut native: impl AsyncFnMut() -> crate::Result<f64>,
        mut plugin: impl AsyncFnMut() -> crate::Result<f64>,
    ) -> crate::Result<Self> {
        native().await?;
        plugin().await?;
        let rounds = at_most(rounds);
        let mut pairs = Self::default();
        for round in 0..rounds {
            pairs.0.push(if round % 2 == 0 {
                (native().await?, plugin().await?)
            } else {
                let second = plugin().await?;
                (native().await?, second)
            });
        }
        Ok(pairs)
    }

    pub(crate) fn push(&mut self, native: f64, plugin: f64) {
        self.0.push((native, plugin));
    }

    pub(crate) fn native(&self) -> Spread {
        Spread::of(self.0.iter().map(|(native, _)| *native))
    }

    pub(crate) fn plugin(&self) -> Spread {
        Spread::of(self.0.iter().map(|(_, plugin)| *plugin))
    }

    pub(crate) fn ratio(&self) -> Spread {
        Spread::of(self.0.iter().map(|(native, plugin)| plugin / native))
    }

    pub(crate) fn difference(&self) -> Spread {
        Spread::of(self.0.iter().map(|(native, plugin)| plugin - native))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_stand_in_the_sorted_order() {
        let Spread { low, median, high } = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(
            [low, median, high].map(f64::to_bits),
            [2.0, 3.0, 4.0].map(f64::to_bits)
        );
    }
}
