//! Guest memory as the loaders see it.

use super::BootError;

/// Guest physical memory. A write outside RAM is an error, never a silent loss.
pub trait GuestRam {
    fn write(&mut self, phys: u64, bytes: &[u8]) -> Result<(), BootError>;
    fn read(&self, phys: u64, into: &mut [u8]) -> Result<(), BootError>;

    /// Clears a range. Memory may hold what an earlier boot left.
    fn zero(&mut self, phys: u64, len: u64) -> Result<(), BootError> {
        const CHUNK: usize = 64 << 10;
        let zeros = [0u8; CHUNK];
        let mut done = 0;
        while done < len {
            let n = (len - done).min(CHUNK as u64);
            let at = phys.checked_add(done).ok_or_else(|| outside(phys, len, u64::MAX))?;
            self.write(at, &zeros[..n as usize])?;
            done += n;
        }
        Ok(())
    }
}

/// RAM from address 0 in one vector: for tests and for tools.
#[derive(Clone, Debug)]
pub struct VecRam(pub Vec<u8>);

impl VecRam {
    pub fn new(len: usize) -> Self {
        VecRam(vec![0; len])
    }

    fn span(&self, phys: u64, len: usize) -> Result<std::ops::Range<usize>, BootError> {
        let size = self.0.len() as u64;
        match phys.checked_add(len as u64) {
            Some(end) if end <= size => Ok(phys as usize..end as usize),
            _ => Err(outside(phys, len as u64, size)),
        }
    }
}

impl GuestRam for VecRam {
    fn write(&mut self, phys: u64, bytes: &[u8]) -> Result<(), BootError> {
        let span = self.span(phys, bytes.len())?;
        self.0[span].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, phys: u64, into: &mut [u8]) -> Result<(), BootError> {
        let span = self.span(phys, into.len())?;
        into.copy_from_slice(&self.0[span]);
        Ok(())
    }
}

fn outside(at: u64, len: u64, size: u64) -> BootError {
    BootError::Outside { what: "memory access".into(), at, len, ram: format!("0-{size:#x}") }
}
