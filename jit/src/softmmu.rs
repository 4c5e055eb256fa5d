//! The fast path of loads and stores: the TLB probe of `memory::Tlb`, in native code.

use crate::clif::{Clif, V, own, ty};
use crate::emit::{EMITS, Miss, outer};
use crate::native::{self, Cx};
use cpu::{SegReg, Width};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use std::mem::offset_of;

/// Flags of accesses to guest memory: any alignment, never a host fault.
fn guest() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl Clif<'_> {
    pub fn load_state(&mut self, at: i32) -> V {
        V::S(self.get_state(types::I64, at), u64::MAX)
    }
    pub fn store_state(&mut self, at: i32, v: V) {
        self.changed = true;
        let v = self.val(v);
        self.put_state(v, at);
    }

    /// The linear address of a segment offset.
    pub fn linear(&mut self, seg: SegReg, at: V, _w: Width) -> Value {
        let at = self.val(at);
        if !self.mode().long64() && matches!(seg, SegReg::Cs | SegReg::Fs | SegReg::Gs) {
            // Limits and rights of these are not part of the mode; code is not writable.
            self.misfit = true;
            return at;
        }
        if !matches!(seg, SegReg::Fs | SegReg::Gs) {
            return at;
        }
        let base = self.load_state(native::base_at(seg as usize));
        let base = self.val(base);
        self.b.ins().iadd(at, base)
    }

    /// Compares the tag at `tag` of the entry for `la`; gives whether the access may go straight on, and the entry.
    fn probe(&mut self, la: Value, bytes: u64, tag: i32) -> (Value, Value, i32) {
        let (entry, off) = self.tlb_entry(la, self.mode().data_set());
        let have = self.b.ins().load(types::I64, own(), entry, off + tag);
        let end = self.plus(la, bytes as i64 - 1);
        let want = self.b.ins().band_imm_s(end, !0xfff);
        (self.b.ins().icmp(IntCC::Equal, have, want), entry, off)
    }
    fn host(&mut self, la: Value, entry: Value, off: i32) -> Value {
        let add = self.b.ins().load(types::I64, own(), entry, off + native::ADDEND);
        self.b.ins().iadd(add, la)
    }

    pub fn load_linear(&mut self, la: Value, w: Width) -> V {
        let v = self.load(la, ty(w));
        self.wide(v, w)
    }
    /// Loads 16 bytes.
    pub fn load_128(&mut self, la: Value) -> Value {
        self.load(la, types::I8X16)
    }
    /// Where the TLB has no entry: has a helper do the access, or leaves it to tier 0.
    fn miss(&mut self, m: Miss, bytes: u32, args: &[Value]) {
        let exit = self.exit();
        let on = self.b.create_block();
        self.b.set_cold_block(on);
        let bad = if EMITS {
            let at = native::MISS + 8 * outer::number(m, bytes) as i32;
            self.call_keeping(at, args);
            let cx = self.cx();
            self.b.ins().load(types::I64, own(), cx, native::BAD)
        } else {
            let (helper, about) = m.helper(bytes.into());
            let about = self.b.ins().iconst(types::I64, about as i64);
            let mut all = args.to_vec();
            all.insert(1, about);
            let Some(bad) = self.call(helper, &all, true) else { return };
            bad
        };
        self.b.ins().brif(bad, exit, &[], on, &[]);
        self.b.switch_to_block(on);
    }
    fn load(&mut self, la: Value, t: Type) -> Value {
        let (hit, entry, off) = self.probe(la, t.bytes().into(), native::TAG_READ);
        let (fast, slow, done) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(slow);
        let v = self.b.append_block_param(done, t);
        self.b.ins().brif(hit, fast, &[], slow, &[]);
        self.b.switch_to_block(slow);
        self.miss(Miss::Load, t.bytes(), &[la]);
        let cx = self.cx();
        let r = self.b.ins().load(t, own(), cx, offset_of!(Cx, value) as i32);
        self.jump_to(done, &[r]);
        self.b.switch_to_block(fast);
        let p = self.host(la, entry, off);
        let r = self.b.ins().load(t, guest(), p, 0);
        self.jump_to(done, &[r]);
        self.b.switch_to_block(done);
        v
    }

    pub fn store_linear(&mut self, la: Value, w: Width, v: V) {
        let (hit, entry, off) = self.probe(la, w.bytes(), native::TAG_WRITE);
        let (fast, slow, done) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(slow);
        let whole = self.val(v);
        self.b.ins().brif(hit, fast, &[], slow, &[]);
        self.b.switch_to_block(slow);
        self.miss(Miss::Store, w.bytes() as u32, &[la, whole]);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(fast);
        let p = self.host(la, entry, off);
        self.store_host(p, w, v);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }

    /// The host address of a place that is about to be read and written.
    pub fn writable(&mut self, la: Value, w: Width) -> Value {
        self.writable_bytes(la, w.bytes())
    }
    /// The same for any number of bytes; those that cross a page are left to tier 0.
    pub fn writable_bytes(&mut self, la: Value, n: u64) -> Value {
        let (hit, entry, off) = self.probe(la, n, native::TAG_WRITE);
        let (slow, done) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(slow);
        self.b.ins().brif(hit, done, &[], slow, &[]);
        self.b.switch_to_block(slow);
        self.miss(Miss::Refill, n as u32, &[la]);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
        // A write tag without a read tag does not exist: what may be written may be read.
        self.host(la, entry, off)
    }
    pub fn load_host(&mut self, p: Value, w: Width) -> V {
        let v = self.b.ins().load(ty(w), guest(), p, 0);
        self.wide(v, w)
    }
    pub fn store_host(&mut self, p: Value, w: Width, v: V) {
        let v = self.narrow(v, w);
        self.b.ins().store(guest(), v, p, 0);
    }

    pub fn store_host_x(&mut self, p: Value, v: Value, at: i32) {
        self.b.ins().store(guest(), v, p, at);
    }
}
