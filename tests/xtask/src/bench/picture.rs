//! The ratios as a bar chart, in SVG 1.1: a bar is as long as ours is faster, and a line stands where both are alike.

use super::report::{Mean, Row, families, means};

const WIDTH: f64 = 720.0;
/// Where bars begin, and where the longest one may end.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 64.0;
const LINE: f64 = 18.0;
const GAP: f64 = 10.0;

#[rustfmt::skip]
const COLORS: &[&str] = &["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2"];
const MEAN: &str = "#333333";

/// A line of the chart.
struct Bar<'a> {
    label: String,
    ratio: f64,
    color: &'a str,
    bold: bool,
}

/// `peer` is what the bars are measured by.
pub fn svg(rows: &[Row], peer: &str) -> String {
    let groups = groups(rows);
    let bars = groups.iter().flatten();
    let most = bars.clone().map(|b| b.ratio).fold(1.0, f64::max);
    let height = TOP + groups.iter().map(|g| g.len() as f64 * LINE + GAP).sum::<f64>() + 14.0;
    let scale = (RIGHT - LEFT) / most;
    let mut text = head(height, peer);
    text += &grid(most, scale, height);
    let mut y = TOP;
    for group in &groups {
        for bar in group {
            text += &bar.draw(y, scale);
            y += LINE;
        }
        y += GAP;
    }
    text + "</svg>\n"
}

/// The bars of each family with their mean, and the mean of all.
fn groups(rows: &[Row]) -> Vec<Vec<Bar<'static>>> {
    let means = means(rows);
    let mean = |m: &Mean| {
        let label = if m.family == "all" {
            format!("mean of all {}", m.count)
        } else {
            format!("{}: mean", m.family)
        };
        m.faster.map(|ratio| Bar { label, ratio, color: MEAN, bold: true })
    };
    let family = |(n, name): (usize, &'static str)| {
        let color = COLORS[n % COLORS.len()];
        let of_family = rows.iter().filter(|r| r.family == name);
        let bar =
            |r: &Row| Some(Bar { label: r.name.clone(), ratio: r.faster()?, color, bold: false });
        let mut bars: Vec<_> = of_family.filter_map(bar).collect();
        if bars.len() > 1 {
            bars.extend(means.iter().find(|m| m.family == name).and_then(mean));
        }
        bars
    };
    let mut groups: Vec<_> = families(rows).into_iter().enumerate().map(family).collect();
    groups.push(means.last().and_then(mean).into_iter().collect());
    groups.retain(|g| !g.is_empty());
    groups
}

fn head(height: f64, peer: &str) -> String {
    let peer = plain(peer);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">\
         How many times as fast as {peer}</text>\n"
    )
}

/// A line at each whole number, or at fewer if there are many; the one at 1 is strong.
fn grid(most: f64, scale: f64, height: f64) -> String {
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|s| most / s <= 10.0);
    let step = step.unwrap_or(most / 10.0);
    let steps = (most / step) as u32;
    let mut at: Vec<_> = (0..=steps).map(|n| f64::from(n) * step).collect();
    if step > 1.0 {
        at.push(1.0);
    }
    let line = |value: f64| {
        let x = LEFT + value * scale;
        let color = if value == 1.0 { "#888888" } else { "#dddddd" };
        let (top, bottom) = (TOP - 10.0, height - 14.0);
        let label = top - 6.0;
        format!(
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{color}\"/>\n\
             <text x=\"{x:.1}\" y=\"{label}\" text-anchor=\"middle\" fill=\"#666666\">{value}</text>\n"
        )
    };
    at.into_iter().map(line).collect()
}

impl Bar<'_> {
    fn draw(&self, y: f64, scale: f64) -> String {
        let (width, base) = (self.ratio * scale, y + LINE - 6.0);
        let (label_end, number_start) = (LEFT - 8.0, LEFT + width + 6.0);
        let weight = if self.bold { " font-weight=\"bold\"" } else { "" };
        let (color, thick, label, ratio) = (self.color, LINE - 5.0, plain(&self.label), self.ratio);
        format!(
            "<text x=\"{label_end}\" y=\"{base}\" text-anchor=\"end\"{weight}>{label}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{thick}\" fill=\"{color}\"/>\n\
             <text x=\"{number_start:.1}\" y=\"{base}\"{weight}>{ratio:.2}</text>\n"
        )
    }
}

/// XML 1.0, 2.4.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod test {
    use super::super::report::test::row;
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_ratio_and_there_is_one_for_each_row_and_mean() {
        let rows = [
            row("boot", "boot", [None, Some(2.0), Some(1.0)]),
            row("int", "<a>", [None, Some(4.0), Some(1.0)]),
            row("int", "b", [None, Some(1.0), Some(1.0)]),
            row("int", "c", [None, None, Some(1.0)]),
        ];
        let text = svg(&rows, "some-peer");
        let widths: Vec<_> = text.matches("<rect x=\"150\"").collect();
        // boot, a, b, the mean of int, the mean of all.
        assert_eq!(widths.len(), 5);
        assert!(text.contains("width=\"500.0\"") && text.contains("width=\"125.0\""));
        assert!(text.contains("as fast as some-peer"));
        assert!(text.contains("int: mean") && text.contains("mean of all 4"));
        assert!(text.contains("&lt;a&gt;") && !text.contains("<a>"));
        assert!(text.ends_with("</svg>\n"));
    }

    #[test]
    fn a_large_ratio_has_a_grid_that_can_be_read() {
        let lines = grid(37.0, 10.0, 100.0);
        assert_eq!(lines.matches("<line").count(), 9);
        assert!(lines.contains(">35<") && lines.contains(">1<"));
    }
}
