//! An x86-64 processor: what its instructions mean, how it translates addresses, how it takes exceptions.
//!
//! The life of an instruction is told in this folder's README. In short: [`decode`] makes an [`Insn`] of bytes; its row
//! ([`rows`]) names a meaning; a meaning is written once in the words of [`Sem`] (and [`Vector`]), which the interpreter
//! ([`Interp`]) answers with numbers and the `jit` crate with Cranelift values.

pub mod big;
mod bus;
mod core;
pub mod crypto;
pub mod decode;
pub mod event;
mod exception;
mod features;
pub mod flags;
mod insn;
mod interp;
pub mod lanes;
mod mmu;
mod mode;
pub mod rows;
pub mod sem;
pub mod soft;
mod state;
mod step;
pub mod testing;
pub mod vector;
mod walk;
pub mod x87;

pub use bus::Bus;
pub use core::{Activity, Core, CoreTlb, Numbers};
pub use exception::{Exception, Raised};
pub use features::Features;
pub use insn::{Insn, NO_REG, Opnd, RIP, Scale};
pub use interp::Interp;
pub use memory::Width;
pub use mmu::{Access, far_from_hole};
pub use mode::Mode;
pub use sem::{Cond, Flag, FlagKind, Op1, Op2, Res, SegReg, Sem, Var};
pub use state::{Fpu, Msrs, Segment, State, Table};
pub use step::{Boundary, Stopped, run, step, step_with_events};
pub use vector::{Fmt, Form, Lane, Vector};
