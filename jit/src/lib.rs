//! The engine that runs guest code fast.
//!
//! Code is decoded once into *blocks* ([`block`]), which tier 0 executes with the meanings of `cpu`. A block that is executed
//! again gets native code of its own on x86-64 hosts, the *baseline* tier ([`emit`]): made in one pass, by answering the words of
//! [`cpu::Sem`] with host registers. Blocks that are executed often become *regions*: better native code, made by answering the
//! same words with Cranelift values. Tiers agree bit for bit, and which one runs is never visible to the guest: instructions
//! are counted exactly, faults are precise.
//!
//! One [`Engine`] serves all cores of a machine, in turn, on one thread.

mod arena;
mod baseline;
mod block;
mod clif;
mod compile;
mod counters;
mod cross;
mod decode;
mod emit;
mod engine;
mod event;
mod fast;
mod hash;
mod lanes;
mod links;
mod native;
mod parts;
mod perf;
mod placed;
mod plan;
mod region;
mod ring;
mod softmmu;
mod store;
mod words;
mod x87;

pub use counters::Counters;
pub use engine::{Config, Engine, JitError};
pub use perf::Profilers;
