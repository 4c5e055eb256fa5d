//! Compressed clusters.  QEMU docs/interop/qcow2.txt, "Compressed Clusters Descriptor".

use super::alloc::{corrupt, read_padded};
use super::tables::Bytes;
use super::{Compression, Qcow2, hold};
use std::collections::VecDeque;
use std::io::{Read, Result};
use std::sync::Arc;

/// Clusters that were unpacked lately: a guest reads them in small pieces.
#[derive(Default)]
pub struct Recent(VecDeque<(u64, Bytes)>);

const RECENT: usize = 4;
/// No cluster is larger than 2 MiB, so no honest stream needs to look further back.
const MOST_WINDOW: u64 = 8 << 20;

impl Recent {
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Qcow2 {
    /// The cluster that is compressed in so many bytes there. The caller holds a pin.
    pub(super) fn unpack(&self, host: u64, len: u64) -> Result<Bytes> {
        if let Some((_, bytes)) = hold(&self.unpacked).0.iter().find(|r| r.0 == host) {
            return Ok(bytes.clone());
        }
        // Compressed bytes are at most as many as others: what is said beyond is not there.
        let len = len.min(2 * self.cluster() + 512);
        let mut packed = vec![0; len as usize];
        read_padded(&*self.file, host, &mut packed)?;
        let mut bytes = vec![0; self.cluster() as usize];
        if !unpack(self.header.compression, &packed, &mut bytes) {
            return Err(corrupt(&format!(
                "the compressed cluster at {host:#x} cannot be unpacked"
            )));
        }
        let bytes = Arc::new(bytes);
        let mut recent = hold(&self.unpacked);
        recent.0.push_front((host, bytes.clone()));
        recent.0.truncate(RECENT);
        Ok(bytes)
    }
}

/// Unpacks a whole cluster.
fn unpack(how: Compression, packed: &[u8], into: &mut [u8]) -> bool {
    match how {
        Compression::Zlib => {
            let mut inflate = flate2::Decompress::new(false);
            let done = inflate.decompress(packed, into, flate2::FlushDecompress::Finish);
            done.is_ok() && inflate.total_out() == into.len() as u64
        }
        Compression::Zstd => {
            let frame =
                ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, MOST_WINDOW);
            frame.is_ok_and(|mut f| f.read_exact(into).is_ok())
        }
    }
}
