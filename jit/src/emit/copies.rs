//! Which host register has a copy of which guest register.

/// Host registers by guest registers, in a form that is looked through quickly: that is done for each register that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies([u8; 16]);

const NOWHERE: u8 = 16;

impl Copies {
    pub const NONE: Copies = Copies([NOWHERE; 16]);
    pub fn get(&self, guest: usize) -> Option<u8> {
        Some(self.0[guest & 15]).filter(|h| *h != NOWHERE)
    }
    pub fn set(&mut self, guest: usize, host: Option<u8>) {
        self.0[guest & 15] = host.map_or(NOWHERE, |h| h & 15);
    }
    /// The host registers that have copies.
    pub fn hosts(&self) -> u16 {
        self.0.iter().fold(0u32, |all, h| all | 1 << h) as u16
    }
    /// The guest registers whose copies this one has.
    pub fn of(&self, host: u8) -> impl Iterator<Item = usize> + use<> {
        let all = self.0;
        (0..16).filter(move |&k| all[k] == host)
    }
    /// A host register has no copies any more.
    pub fn forget(&mut self, host: u8) {
        for h in &mut self.0 {
            *h = if *h == host { NOWHERE } else { *h };
        }
    }
    /// Keeps what the other one has, too.
    pub fn keep(&mut self, other: &Copies) {
        for (h, o) in self.0.iter_mut().zip(other.0) {
            *h = if *h == o { o } else { NOWHERE };
        }
    }
}
