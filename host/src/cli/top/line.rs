//! Lines of text whose parts have a tone, and tables that give up columns where there is no room.

use crate::cli::output::clean;

/// How a part of a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// The escape sequence of its colour.
    pub(super) fn colour(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }

    /// `tone` for a number that should be 0.
    pub(super) fn unless_zero(self, number: f64) -> Self {
        if number > 0.0 { self } else { Self::Plain }
    }
}

/// A piece of text and how it is meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part(pub(super) String, pub(super) Tone);

impl Part {
    /// Control characters in what hosts say must not steer the terminal.
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self(clean(text.as_ref()).replace('\n', " "), tone)
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Tone::Plain)
    }

    fn width(&self) -> usize {
        self.0.chars().count()
    }
}

/// A line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Line(pub(super) Vec<Part>);

impl Line {
    /// The facts that fit, from the first one on, with room between them.
    pub(super) fn of_facts(facts: Vec<Vec<Part>>, width: usize) -> Self {
        let mut line = Self::default();
        for fact in facts {
            let between = if line.0.is_empty() { "" } else { "   " };
            let more: usize = fact.iter().map(Part::width).sum();
            if !line.0.is_empty() && line.width() + between.len() + more > width {
                break;
            }
            line.0.push(Part::plain(between));
            line.0.extend(fact);
        }
        line.cut(width)
    }

    /// As much of it as fits.
    pub(super) fn cut(mut self, width: usize) -> Self {
        let mut room = width;
        for part in &mut self.0 {
            if let Some((end, _)) = part.0.char_indices().nth(room) {
                part.0.truncate(end);
            }
            room -= part.width();
        }
        self
    }

    /// All of it in one tone.
    pub(super) fn toned(mut self, tone: Tone) -> Self {
        for part in &mut self.0 {
            part.1 = tone;
        }
        self
    }

    fn width(&self) -> usize {
        self.0.iter().map(Part::width).sum()
    }

    /// As text, each part painted; without spaces at its end.
    pub(super) fn paint(&self, paint: impl Fn(&str, &str) -> String) -> String {
        let blank = |part: &&Part| part.0.trim().is_empty();
        let written = self.0.len() - self.0.iter().rev().take_while(blank).count();
        let parts = self.0[..written].iter().enumerate();
        let parts = parts.map(|(place, part)| {
            let text = if place + 1 == written {
                part.0.trim_end()
            } else {
                &part.0
            };
            paint(part.1.colour(), text)
        });
        parts.collect()
    }
}

/// A column of a [`Grid`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Numbers stand at the right edge.
    pub(super) is_number: bool,
    /// Where there is no room, the column with the highest one goes first.
    pub(super) rank: u8,
}

/// Rows under heads, as many columns of them as fit.
#[derive(Debug)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Part>>,
}

impl Grid {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: one cell per column.
    pub(super) fn row(&mut self, cells: Vec<Part>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The heads and the rows.
    pub(super) fn lines(&self, width: usize) -> Vec<Line> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.width(column))
            .collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        while shown.len() > 1
            && shown
                .iter()
                .map(|column| widths[*column] + 2)
                .sum::<usize>()
                > width.saturating_add(2)
        {
            let least = shown
                .iter()
                .max_by_key(|column| self.columns[**column].rank);
            let least = least.copied();
            shown.retain(|column| Some(*column) != least);
        }
        let line = |cells: &[Part]| {
            let mut parts = Vec::new();
            for column in &shown {
                let Part(text, tone) = &cells[*column];
                let width = widths[*column];
                let text = if self.columns[*column].is_number {
                    format!("{text:>width$}")
                } else {
                    format!("{text:<width$}")
                };
                parts.extend([Part(text, *tone), Part("  ".to_owned(), Tone::Plain)]);
            }
            Line(parts).cut(width)
        };
        let heads = self.columns.iter();
        let heads: Vec<Part> = heads
            .map(|column| Part::new(column.head, Tone::Strong))
            .collect();
        std::iter::once(line(&heads))
            .chain(self.rows.iter().map(|row| line(row)))
            .collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].width());
        let head = self.columns[column].head.chars().count();
        cells.max().unwrap_or_default().max(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> String {
        line.paint(|_, text| text.to_owned())
    }

    fn grid() -> Grid {
        let column = |head, is_number, rank| Column {
            head,
            is_number,
            rank,
        };
        let mut grid = Grid::new(&[
            column("NAME", false, 0),
            column("NOTE", false, 2),
            column("RATE", true, 1),
        ]);
        grid.row(["auth", "of people", "12"].map(Part::plain).to_vec());
        grid.row(["\x1b[2Jmail", "", "7"].map(Part::plain).to_vec());
        grid
    }

    #[track_caller]
    fn check_grid(width: usize, expected: &[&str]) {
        let lines: Vec<String> = grid().lines(width).iter().map(text).collect();
        assert_eq!(lines, expected, "{width} wide");
    }

    #[test]
    fn a_table_that_is_too_wide_gives_up_its_least_columns_and_then_the_ends_of_its_lines() {
        let wide = [
            "NAME           NOTE       RATE",
            "auth           of people    12",
            "\\u{1b}[2Jmail                7",
        ];
        check_grid(usize::MAX, &wide);
        check_grid(30, &wide);
        let narrow = [
            "NAME           RATE",
            "auth             12",
            "\\u{1b}[2Jmail     7",
        ];
        check_grid(29, &narrow);
        check_grid(19, &narrow);
        check_grid(18, &["NAME", "auth", "\\u{1b}[2Jmail"]);
        check_grid(3, &["NAM", "aut", "\\u{"]);
        check_grid(0, &["", "", ""]);
    }

    #[test]
    fn facts_that_do_not_fit_are_left_out_and_the_first_is_cut() {
        let facts = || {
            let fact = |text| vec![Part::plain(text)];
            vec![fact("one two"), fact("three")]
        };
        assert_eq!(text(&Line::of_facts(facts(), 15)), "one two   three");
        assert_eq!(text(&Line::of_facts(facts(), 14)), "one two");
        assert_eq!(text(&Line::of_facts(facts(), 5)), "one t");
        assert_eq!(text(&Line::of_facts(facts(), 0)), "");
    }

    #[test]
    fn parts_are_painted_in_their_tone() {
        let line = Line(vec![
            Part::plain("state "),
            Part::new("failed", Tone::Bad),
            Part::plain("  "),
        ]);
        let painted = line.paint(|colour, text| format!("<{colour}|{text}>"));
        assert_eq!(painted, "<|state ><\x1b[31m|failed>");
        let toned = line
            .toned(Tone::Faint)
            .paint(|colour, text| format!("<{colour}|{text}>"));
        assert_eq!(toned, "<\x1b[2m|state ><\x1b[2m|failed>");
    }
}
