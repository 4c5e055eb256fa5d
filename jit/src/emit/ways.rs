//! The ways out of a piece of code, and what many of them lead to.

use super::asm::{Hole, RAX};
use super::body::{Body, context};
use super::frames;
use crate::clif::leave;
use crate::native;
use memory::PAGE;

#[derive(Default)]
pub struct Ways {
    /// Jumps to places in RAM: until they are set they lead back to the engine.
    pub links: Vec<(Hole, u64)>,
    /// Jumps to the code that finds what is at RIP.
    pub search: Vec<Hole>,
    /// Jumps to a return.
    pub rets: Vec<Hole>,
    /// Jumps of RETs that did not find their frame, and the registers with where they go.
    pub astray: Vec<(Hole, u8)>,
}

impl Ways {
    /// Writes where they lead.
    pub fn write(&self, b: &mut Body<'_>) {
        for (hole, at) in &self.links {
            b.asm.land(*hole);
            if b.alone {
                b.put_place((at % PAGE) as i32, 0);
            }
            b.leave(leave::JUMP);
        }
        let (asm, mode) = (&mut b.asm, b.mode);
        if !self.rets.is_empty() {
            self.rets.iter().for_each(|h| asm.land(*h));
            frames::reset(asm);
            asm.ret();
        }
        if !self.search.is_empty() {
            self.search.iter().for_each(|h| asm.land(*h));
            asm.jmp_to(context(native::search_at(mode)));
        }
        for (hole, to) in &self.astray {
            asm.land(*hole);
            if *to != RAX {
                asm.mov(RAX, *to);
            }
            asm.jmp_to(context(native::astray_at(mode)));
        }
    }
}
