//! What came of it: a table, with geometric means of each family and of all.

use super::marks::Runs;
use super::{Case, Column, geometric};
use std::collections::BTreeSet;

/// A piece of work with the median of its seconds in each column, and whether all answers are the same; of one answer
/// nobody knows.
pub struct Row {
    pub family: &'static str,
    pub name: String,
    pub native: Option<f64>,
    pub peer: Option<f64>,
    pub ours: Option<f64>,
    pub right: Option<bool>,
}

impl Row {
    /// Above 1, ours is faster.
    pub fn faster(&self) -> Option<f64> {
        self.peer.zip(self.ours).map(|(p, o)| p / o)
    }

    fn slower_than_host(&self) -> Option<f64> {
        self.ours.zip(self.native).map(|(o, n)| o / n)
    }
}

/// Of a family, or of all: how many rows have a ratio, and the geometric mean.
pub struct Mean {
    pub family: &'static str,
    pub count: usize,
    pub faster: Option<f64>,
    slower_than_host: Option<f64>,
}

pub fn rows(cases: &[Case], native: &Runs, columns: &[Column]) -> Vec<Row> {
    let of = |who: &str| columns.iter().find(|c| c.who == who).map(|c| &c.runs);
    let row = |case: &Case| {
        let median = |runs: Option<&Runs>| runs.and_then(|r| r.median(&case.name));
        let sources: Vec<_> = std::iter::once(native)
            .chain(columns.iter().map(|c| &c.runs))
            .filter_map(|r| r.get(&case.name))
            .collect();
        let answers: BTreeSet<_> = sources.iter().flat_map(|r| &r.answers).collect();
        let compared = sources.len() > 1 || answers.len() > 1;
        Row {
            family: case.family,
            name: case.name.clone(),
            native: native.median(&case.name),
            peer: median(of("peer")),
            ours: median(of("ours")),
            right: compared.then_some(answers.len() == 1),
        }
    };
    cases.iter().map(row).collect()
}

/// In the order of the rows.
pub fn families(rows: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for row in rows {
        if !names.contains(&row.family) {
            names.push(row.family);
        }
    }
    names
}

/// Each family's, and one over all rows.
pub fn means(rows: &[Row]) -> Vec<Mean> {
    let of = |family: &'static str, all: bool| {
        let rows: Vec<_> = rows.iter().filter(|r| all || r.family == family).collect();
        Mean {
            family,
            count: rows.len(),
            faster: geometric(rows.iter().filter_map(|r| r.faster())),
            slower_than_host: geometric(rows.iter().filter_map(|r| r.slower_than_host())),
        }
    };
    let each = families(rows).into_iter().map(|f| of(f, false));
    each.chain(std::iter::once(of("all", true))).collect()
}

pub fn print(rows: &[Row]) {
    println!("\nSeconds, medians. Above 1, peer/ours means that ours is faster.");
    println!(
        "{:8} {:8} {:>9} {:>9} {:>9} {:>10} {:>12}  answer",
        "family", "work", "native", "peer", "ours", "peer/ours", "ours/native"
    );
    for row in rows {
        let [native, peer, ours] = [row.native, row.peer, row.ours].map(|s| cell(s, 3));
        let (faster, slower) = (cell(row.faster(), 2), cell(row.slower_than_host(), 2));
        let word = row.right.map_or("-", |right| if right { "ok" } else { "WRONG" });
        let (family, name) = (row.family, &row.name);
        println!(
            "{family:8} {name:8} {native:>9} {peer:>9} {ours:>9} {faster:>10} {slower:>12}  {word}"
        );
    }
    println!("\nGeometric means");
    for mean in means(rows) {
        let (faster, slower) = (cell(mean.faster, 2), cell(mean.slower_than_host, 2));
        let rows = format!("of {}", mean.count);
        println!(
            "{:8} {rows:8} {:>9} {:>9} {:>9} {faster:>10} {slower:>12}",
            mean.family, "", "", ""
        );
    }
}

fn cell(number: Option<f64>, digits: usize) -> String {
    number.map_or("-".to_owned(), |x| format!("{x:.digits$}"))
}

#[cfg(test)]
pub mod test {
    use super::*;
    use boot_tests::machine::now;
    use std::time::Duration;

    pub fn row(family: &'static str, name: &str, times: [Option<f64>; 3]) -> Row {
        let [native, peer, ours] = times;
        Row { family, name: name.to_owned(), native, peer, ours, right: Some(true) }
    }

    fn runs(seconds: u64, answer: &str) -> Runs {
        let (mut runs, start) = (Runs::default(), now());
        runs.note("sieve", start, start + Duration::from_secs(seconds), answer).unwrap();
        runs
    }

    fn column(who: &'static str, runs: Runs) -> Column {
        Column { who, command: Vec::new(), runs }
    }

    #[test]
    fn means_are_geometric_and_leave_out_what_is_not_there() {
        let rows = [
            row("boot", "boot", [None, Some(2.0), Some(2.0)]),
            row("int", "a", [Some(1.0), Some(8.0), Some(2.0)]),
            row("int", "b", [Some(1.0), Some(8.0), Some(8.0)]),
        ];
        let means = means(&rows);
        let faster: Vec<_> = means.iter().map(|m| (m.family, m.count, cell(m.faster, 3))).collect();
        assert_eq!(faster[0], ("boot", 1, "1.000".to_owned()));
        assert_eq!(faster[1], ("int", 2, "2.000".to_owned()));
        assert_eq!(faster[2], ("all", 3, "1.587".to_owned()));
        assert_eq!(means[0].slower_than_host, None);
        assert_eq!(cell(means[1].slower_than_host, 3), "4.000");
    }

    #[test]
    fn a_wrong_answer_of_anybody_is_seen() {
        let cases = [Case { family: "int", name: "sieve".to_owned() }];
        let right = |native: Runs, columns: &[Column]| rows(&cases, &native, columns)[0].right;
        let both = |a, b| [column("peer", runs(1, a)), column("ours", runs(2, b))];
        assert_eq!(right(runs(1, "x"), &both("x", "x")), Some(true));
        assert_eq!(right(runs(1, "x"), &both("y", "y")), Some(false));
        assert_eq!(right(Runs::default(), &both("x", "y")), Some(false));
        assert_eq!(right(Runs::default(), &both("x", "x")), Some(true));
        assert_eq!(right(Runs::default(), &[column("ours", runs(1, "x"))]), None);
    }
}
