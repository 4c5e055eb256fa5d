//! One request between a device and an image: who asked, what, and what became of it.

use super::KINDS;
use crate::config::{Drive, OnError};
use crate::parts::DeviceId;
use block::Op;
use device::{DiskError, DiskOp, Input, Request, Tick};
use memory::Buffer;
use std::io::{Error, ErrorKind};

/// Where a drive is joined to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub device: DeviceId,
    pub path: Vec<u16>,
    pub unit: u16,
}

impl Socket {
    /// An input on its way to the part of the device that it is for.
    pub fn wrap(&self, input: Input) -> Input {
        self.path.iter().rev().fold(input, |inner, n| Input::To(*n, Box::new(inner)))
    }
}

/// Takes off what parts of devices have put around a request.
pub(super) fn unwrap(mut what: Request) -> (Vec<u16>, Request) {
    let mut path = Vec::new();
    while let Request::From(n, inner) = what {
        path.push(n);
        what = *inner;
    }
    (path, what)
}

/// A request that was not answered yet.
pub(super) struct Flight {
    /// The device's.
    pub tag: u64,
    pub since: Tick,
    pub due: Tick,
    /// Which of [`KINDS`] it is.
    pub kind: usize,
    pub bytes: u64,
    pub result: Option<Result<Buffer, DiskError>>,
    /// An error that would stop the machine is answered by another try, once.
    pub forgiven: bool,
}

impl Flight {
    pub fn new(tag: u64, since: Tick, due: Tick, op: &DiskOp) -> Flight {
        let kind = match op {
            DiskOp::Read { .. } => 0,
            DiskOp::Write { .. } | DiskOp::Zero { .. } => 1,
            DiskOp::Flush | DiskOp::Tray { .. } | DiskOp::Lock(_) => 2,
            DiskOp::Discard { .. } => 3,
        };
        let (kind, bytes) = (kind % KINDS.len(), bytes(op));
        Flight { tag, since, due, kind, bytes, result: None, forgiven: false }
    }
}

/// How many bytes a request moves.
pub(super) fn bytes(op: &DiskOp) -> u64 {
    match op {
        DiskOp::Read { len, .. } => (*len).into(),
        DiskOp::Write { data, .. } => data.len() as u64,
        _ => 0,
    }
}

/// What a device asks, in the block layer's words. Trays are no business of that layer.
pub(super) fn plain(op: DiskOp) -> Op {
    match op {
        DiskOp::Read { at, len } => Op::Read { at, len },
        DiskOp::Write { at, data, fua } => Op::Write { at, data, fua },
        DiskOp::Flush | DiskOp::Tray { .. } | DiskOp::Lock(_) => Op::Flush,
        DiskOp::Discard { at, len } => Op::Discard { at, len },
        DiskOp::Zero { at, len, unmap } => Op::Zero { at, len, unmap },
    }
}

/// The way back.
pub(super) fn asked(op: Op) -> DiskOp {
    match op {
        Op::Read { at, len } => DiskOp::Read { at, len },
        Op::Write { at, data, fua } => DiskOp::Write { at, data, fua },
        Op::Flush => DiskOp::Flush,
        Op::Discard { at, len } => DiskOp::Discard { at, len },
        Op::Zero { at, len, unmap } => DiskOp::Zero { at, len, unmap },
    }
}

/// A request that the image could not do.
pub(super) struct Failed {
    pub error: DiskError,
    pub write: bool,
}

/// What the device is told, or `None` if the request waits for another try.
type Answer = Option<Result<Buffer, DiskError>>;

impl Failed {
    pub fn new(op: &Op, why: &Error) -> Failed {
        let error = match why.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                DiskError::NoSpace
            }
            ErrorKind::InvalidInput => DiskError::Range,
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => DiskError::ReadOnly,
            _ => DiskError::Io,
        };
        Failed { error, write: !matches!(op, Op::Read { .. }) }
    }
    /// What is done about it. What the guest itself did wrong, it is told in any case.
    pub fn decide(&self, policy: OnError, op: &Op) -> (OnError, Answer) {
        let report = (OnError::Report, Some(Err(self.error)));
        match (policy, self.error) {
            (_, DiskError::Range | DiskError::ReadOnly | DiskError::NoMedium) => report,
            (OnError::Stop, _) | (OnError::Enospc, DiskError::NoSpace) => (OnError::Stop, None),
            (OnError::Ignore, _) => {
                let len = if let Op::Read { len, .. } = op { *len as usize } else { 0 };
                (OnError::Ignore, Some(Ok(Buffer::zeroed(len))))
            }
            _ => report,
        }
    }
}

impl Drive {
    pub(super) fn policy(&self, write: bool) -> OnError {
        if write { self.write_error } else { self.read_error }
    }
}
