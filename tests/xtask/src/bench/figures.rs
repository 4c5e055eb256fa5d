//! What many figures come to.

/// The middle one; of an even number, the one above.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The geometric mean of ratios.
pub fn geometric(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<_> = ratios.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn they_are_those_of_the_book() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
        assert_eq!(geometric([2.0, 8.0].into_iter()), Some(4.0));
        assert_eq!(geometric(std::iter::empty()), None);
    }
}
