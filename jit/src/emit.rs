//! The baseline tier: native code for one block at a time, made in one pass. For x86-64 hosts.

pub mod asm;
