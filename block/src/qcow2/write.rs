//! Writing: in place where a cluster is ours alone, else into new clusters, as many at once as the request has.

use super::alloc::{Got, corrupt};
use super::entry::{COPIED, Place, place};
use super::map::{Busy, Map};
use super::{Qcow2, hold};
use crate::bytes::{put, u64_at};
use std::io::Result;
use std::ops::Range;

/// What can be done with the first bytes of a request.
enum Plan<'a> {
    InPlace {
        host: u64,
        len: usize,
    },
    /// Clusters of the disk that need a place; perhaps they have one that only waits for data.
    Fill {
        busy: Busy<'a>,
        clusters: Range<u64>,
        host: Option<u64>,
    },
}

/// Clusters that get a place at once; a limit for the buffer that copying needs.
const MOST_AT_ONCE: u64 = 16 << 20;

impl Qcow2 {
    pub(super) fn write_all(&self, mut at: u64, mut from: &[u8]) -> Result<()> {
        while !from.is_empty() {
            let n = self.write_some(at, from).map_err(|e| self.note(e))?;
            at += n as u64;
            from = &from[n..];
        }
        Ok(())
    }

    fn write_some(&self, at: u64, from: &[u8]) -> Result<usize> {
        let _pin = self.pin();
        match self.plan(at, from.len())? {
            Plan::InPlace { host, len } => {
                self.put(host, &from[..len])?;
                Ok(len)
            }
            Plan::Fill { busy, clusters, host } => self.fill(busy, clusters, host, at, from),
        }
    }

    /// Writes into a cluster, whose end may lie behind the end of the file.
    fn put(&self, host: u64, from: &[u8]) -> Result<()> {
        let end = host.saturating_add(from.len() as u64);
        if end > self.file.info().len {
            hold(&self.alloc).reach_for(end)?;
        }
        self.file.write(host, from)
    }

    fn plan(&self, at: u64, len: usize) -> Result<Plan<'_>> {
        let (bits, covers) = (self.header.cluster_bits, self.header.l2_covers());
        let end = at + (len as u64).min(covers - at % covers).min(MOST_AT_ONCE);
        let clusters = at >> bits..(end - 1 >> bits) + 1;
        let mut map = hold(&self.map);
        loop {
            let table;
            (map, table) = self.table(map, (at / covers) as usize)?;
            let idle = map.idle(clusters.clone());
            if idle.is_empty() {
                map = self.idle.wait(map).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            let kind = |c: u64| match &table {
                None => Place::Nowhere,
                Some(t) => {
                    let n = (c << bits) % covers >> bits;
                    place(u64_at(t, n as usize * 8), bits, self.header.version)
                }
            };
            return self.plan_for(&mut map, idle, &kind, at, end);
        }
    }

    /// What to do with a row of clusters, of which nobody is busy with any: the first one says what is done, and as many as
    /// go the same way go with it.
    fn plan_for(
        &self,
        map: &mut Map,
        idle: Range<u64>,
        kind: &dyn Fn(u64) -> Place,
        at: u64,
        end: u64,
    ) -> Result<Plan<'_>> {
        let (bits, start) = (self.header.cluster_bits, idle.start);
        let end_of =
            |row: &dyn Fn(u64) -> bool| idle.clone().find(|&c| !row(c)).unwrap_or(idle.end);
        Ok(match kind(start) {
            Place::Bad => {
                return Err(corrupt(&format!("where the cluster at {at:#x} is, makes no sense")));
            }
            Place::Data { host, own: true } => {
                let at_host = |c: u64| host + (c - start << bits);
                let stop = end_of(&|c| kind(c) == Place::Data { host: at_host(c), own: true });
                let len = (end.min(stop << bits) - at) as usize;
                Plan::InPlace { host: host + at % self.cluster(), len }
            }
            Place::Zero { host: Some(host), own: true } => {
                let at_host = |c: u64| Some(host + (c - start << bits));
                let stop = end_of(&|c| kind(c) == Place::Zero { host: at_host(c), own: true });
                let busy = Busy::new(self, map, start..stop);
                Plan::Fill { busy, clusters: start..stop, host: Some(host) }
            }
            _ => {
                let stop = end_of(&|c| match kind(c) {
                    Place::Data { own, .. } | Place::Zero { host: Some(_), own } => !own,
                    other => other != Place::Bad,
                });
                let busy = Busy::new(self, map, start..stop);
                Plan::Fill { busy, clusters: start..stop, host: None }
            }
        })
    }

    /// Writes into clusters that nothing refers to yet, with what was there around the request; then makes the table refer
    /// to them. Gives how much of the request is done.
    fn fill(
        &self,
        busy: Busy<'_>,
        mut clusters: Range<u64>,
        host: Option<u64>,
        at: u64,
        from: &[u8],
    ) -> Result<usize> {
        let bits = self.header.cluster_bits;
        let n = clusters.end - clusters.start;
        let got = match host {
            Some(at) => Got { at, count: n, zero: false },
            None => self.allocate(n)?,
        };
        clusters.end = clusters.start + got.count;
        busy.shorten(clusters.end);
        let len = from.len().min(((clusters.end << bits) - at) as usize);
        let done = self
            .fill_data(&clusters, got, at, &from[..len])
            .and_then(|()| self.link(&clusters, got.at, host.is_some()));
        if let Err(e) = done {
            if host.is_none() {
                self.unallocate(got.at, got.count);
            }
            return Err(e);
        }
        Ok(len)
    }

    fn fill_data(&self, clusters: &Range<u64>, got: Got, at: u64, from: &[u8]) -> Result<()> {
        let bits = self.header.cluster_bits;
        let (first, end) = (clusters.start << bits, clusters.end << bits);
        let to = at + from.len() as u64;
        let around = |a: u64, b: u64| -> Result<Vec<u8>> {
            let mut old = vec![0; (b - a) as usize];
            // The disk may end within its last cluster.
            let there = self.header_size().saturating_sub(a).min(b - a) as usize;
            self.read_all(a, &mut old[..there])?;
            let skip = got.zero && old.iter().all(|&b| b == 0);
            Ok(if skip { Vec::new() } else { old })
        };
        let (head, tail) = (around(first, at)?, around(to, end)?);
        let begin = got.at + (at - first) - head.len() as u64;
        if head.is_empty() && tail.is_empty() {
            return self.put(begin, from);
        }
        let all = [&head[..], from, &tail[..]].concat();
        self.put(begin, &all)
    }
    /// Length of the disk as reading sees it.
    fn header_size(&self) -> u64 {
        self.size.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Lets the table refer to new clusters.
    fn link(&self, clusters: &Range<u64>, host: u64, reused: bool) -> Result<()> {
        let (bits, covers) = (self.header.cluster_bits, self.header.l2_covers());
        let first = clusters.start << bits;
        let (mut map, table) = self.own_table((first / covers) as usize)?;
        let from = ((first % covers) >> bits) as usize;
        let n = (clusters.end - clusters.start) as usize;
        let mut old = Vec::new();
        if let Some(bytes) = map.l2.change(table, from * 8..(from + n) * 8) {
            for c in 0..n {
                let here = (from + c) * 8;
                old.push(place(u64_at(bytes, here), bits, self.header.version));
                put(bytes, here, &(host + ((c as u64) << bits) | COPIED).to_be_bytes());
            }
        }
        if !reused {
            old.into_iter().for_each(|p| self.unlink(&mut map, p));
        }
        Ok(())
    }

    /// Nothing refers to a place any more, once the tables are in the file.
    pub(super) fn unlink(&self, map: &mut Map, old: Place) {
        match old {
            Place::Data { host, .. } | Place::Zero { host: Some(host), .. } => {
                map.drop_ref(host..host + self.cluster());
            }
            Place::Packed { host, len } => map.drop_ref(host..host + len),
            Place::Nowhere | Place::Zero { host: None, .. } | Place::Bad => {}
        }
    }
}
