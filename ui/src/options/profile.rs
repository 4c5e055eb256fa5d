//! `-profile`: where the guest spends its time.

use super::finish::Gathered;
use super::words::Words;
use super::{Profile, Said, Stop};

/// Instructions from one sample to the next, if nobody says.
const EVERY: u64 = 100_000;

pub fn profile(g: &mut Gathered, said: &mut Said) -> Result<(), Stop> {
    let mut words = Words::new(said.option, said.value, Some("file"))?;
    let file = words.needed("file")?.into();
    let every = words.number("every", 1..=1 << 40)?.unwrap_or(EVERY);
    let symbols = words.texts("symbols")?.into_iter().map(Into::into).collect();
    words.none_left()?;
    g.profile = Some(Profile { file, every, symbols });
    Ok(())
}
