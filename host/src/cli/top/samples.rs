//! What a host measures, read from Prometheus' text format.

/// The samples of one look. A counter that is not among them is 0.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

/// One line.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        let (_, value) = labels.find(|(label, _)| label == name)?;
        Some(value)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        let mut labels = labels.iter();
        labels.all(|(name, value)| self.label(name) == Some(*value))
    }
}

impl Samples {
    /// Reads them. Lines that are no samples, such as comments, are passed over.
    pub(super) fn read(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// The sum of the samples of that name that have these labels, whatever others they have.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.0.iter().filter(|sample| sample.name == name);
        let samples = samples.filter(|sample| sample.has(labels));
        // Not `sum`, which says -0 for nothing.
        samples.fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The values that a label of that name has, each once, in their order.
    pub(super) fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let samples = self.0.iter().filter(|sample| sample.name == name);
        let mut values: Vec<&str> = samples.filter_map(|sample| sample.label(label)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The buckets of the histograms of that name that have these labels, as one: upper bound and how many are below, in
    /// the order of the bounds.
    pub(super) fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Buckets {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.0.iter().filter(|sample| sample.name == name) {
            let bound = sample.label("le").and_then(|bound| bound.parse().ok());
            let Some(bound) = bound.filter(|_| sample.has(labels)) else {
                continue;
            };
            match buckets.binary_search_by(|(other, _)| f64::total_cmp(other, &bound)) {
                Ok(place) => buckets[place].1 += sample.value,
                Err(place) => buckets.insert(place, (bound, sample.value)),
            }
        }
        Buckets(buckets)
    }
}

/// A histogram.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// What has come since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| {
            let mut buckets = before.0.iter();
            buckets
                .find(|(other, _)| f64::total_cmp(other, &bound).is_eq())
                .map_or(0.0, |(_, below)| *below)
        };
        let buckets = self.0.iter();
        Self(
            buckets
                .map(|(bound, below)| (*bound, (below - earlier(*bound)).max(0.0)))
                .collect(),
        )
    }

    /// The value that this part of what was measured is below, as far as buckets tell: as Prometheus' `histogram_quantile`.
    /// None when nothing was measured.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let (_, all) = *self.0.last()?;
        if all <= 0.0 {
            return None;
        }
        let rank = part * all;
        let place = self.0.iter().position(|(_, below)| *below >= rank)?;
        let (upper, below) = self.0[place];
        let (lower, before) = match place {
            0 => (0.0, 0.0),
            _ => self.0[place - 1],
        };
        if upper.is_infinite() {
            // It is above all bounds: more is not known.
            return Some(lower);
        }
        Some(lower + (upper - lower) * (rank - before) / (below - before))
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// The labels up to the brace, and what follows it.
fn labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.push((name.to_owned(), value));
        text = rest;
    }
}

/// A value up to its quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_sum(text: &str, name: &str, labels: &[(&str, &str)], expected: f64) {
        let sum = Samples::read(text).sum(name, labels);
        assert!(sum.is_sign_positive(), "{sum}");
        assert!(
            (sum - expected).abs() < 1e-9,
            "{name} of {text:?} is {sum}, not {expected}"
        );
    }

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_asked_for() {
        let text = "# HELP r Requests, {by} route\n# TYPE r counter\n\
                    r{plugin=\"a\",route=\"/x\"} 3\nr{plugin=\"a\",route=\"/y\"} 4\nr{plugin=\"b\",route=\"/x\"} 8\nup 1\n";
        check_sum(text, "r", &[("plugin", "a")], 7.0);
        check_sum(text, "r", &[("plugin", "a"), ("route", "/y")], 4.0);
        check_sum(text, "r", &[], 15.0);
        check_sum(text, "up", &[], 1.0);
        check_sum(text, "absent", &[], 0.0);
        assert_eq!(Samples::read(text).values("r", "plugin"), ["a", "b"]);
    }

    #[test]
    fn labels_hold_any_text_and_numbers_any_form() {
        check_sum(
            "q{name=\"a \\\"b\\\", {c}\\\\\"} 1.5e3 1700000000\n",
            "q",
            &[("name", "a \"b\", {c}\\")],
            1500.0,
        );
        check_sum(
            "q{name=\"two\\nlines\",} 2\n",
            "q",
            &[("name", "two\nlines")],
            2.0,
        );
    }

    #[test]
    fn a_line_that_is_no_sample_spoils_none() {
        for line in [
            "", "{} 1", "q", "q{", "q{a=", "q{a=\"", "q{a=\"\\", "q one", " 5",
        ] {
            check_sum(&format!("{line}\nq 1\n"), "q", &[], 1.0);
        }
    }

    /// Two routes: 10 answers below 1, 80 between 1 and 2, 10 between 2 and 4.
    const ANSWERS: &str = "t_bucket{route=\"x\",le=\"1\"} 10\nt_bucket{route=\"x\",le=\"2\"} 50\nt_bucket{route=\"x\",le=\"4\"} 50\n\
                           t_bucket{route=\"x\",le=\"+Inf\"} 50\nt_bucket{route=\"y\",le=\"1\"} 0\nt_bucket{route=\"y\",le=\"2\"} 40\n\
                           t_bucket{route=\"y\",le=\"4\"} 50\nt_bucket{route=\"y\",le=\"+Inf\"} 50\n";

    #[track_caller]
    fn check_quantile(now: &str, before: &str, part: f64, expected: Option<f64>) {
        let read = |text| Samples::read(text).buckets("t", &[]);
        let got = read(now).since(&read(before)).quantile(part);
        let is_near = match (got, expected) {
            (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
            (got, expected) => got == expected,
        };
        assert!(is_near, "{part}: {got:?}, not {expected:?}");
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        check_quantile(ANSWERS, "", 0.5, Some(1.5));
        check_quantile(ANSWERS, "", 0.05, Some(0.5));
        check_quantile(ANSWERS, "", 0.95, Some(3.0));
        check_quantile(
            "t_bucket{le=\"1\"} 0\nt_bucket{le=\"+Inf\"} 9\n",
            "",
            0.5,
            Some(1.0),
        );
    }

    #[test]
    fn quantiles_are_of_what_has_come_since() {
        let before = "t_bucket{le=\"1\"} 10\nt_bucket{le=\"2\"} 90\nt_bucket{le=\"4\"} 90\nt_bucket{le=\"+Inf\"} 90\n";
        check_quantile(ANSWERS, before, 0.5, Some(3.0));
        check_quantile(ANSWERS, ANSWERS, 0.5, None);
        check_quantile("", "", 0.5, None);
    }
}
