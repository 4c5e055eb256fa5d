//! The machine code around the tested code: loads the whole state, and saves it after.

use super::{CONTEXT, Context, STUB, STUB_SIZE, Stubs};
use iced_x86::code_asm::*;
use std::mem::offset_of;

const GPR: [AsmRegister64; 16] =
    [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
/// What the System V ABI wants back, besides RSP.
const SAVED: [AsmRegister64; 6] = [rbx, rbp, r12, r13, r14, r15];

/// The absolute address of a field, which fits a 32-bit displacement.
fn at(offset: usize) -> u64 {
    CONTEXT + offset as u64
}

/// Assembles the stubs into their page.
pub(super) fn write() -> Result<Stubs, String> {
    let (code, stubs) = assemble().map_err(|e| format!("native stubs: {e}"))?;
    assert!(code.len() as u64 <= STUB_SIZE, "the stub page is too small");
    // SAFETY: `prepare` has mapped the page writable, and nothing runs in it yet.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), STUB as *mut u8, code.len()) };
    Ok(stubs)
}

fn assemble() -> Result<(Vec<u8>, Stubs), iced_x86::IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut label = [(); 6].map(|()| a.create_label());
    let [enter, exit, recover, enter_compat, exit_compat, recover_compat] = &mut label;

    a.set_label(enter)?;
    load_state(&mut a, false)?;
    a.jmp(qword_ptr(at(offset_of!(Context, target))))?;

    a.set_label(exit)?;
    save_state(&mut a)?;
    // The signal handler comes in here; it has saved the state already.
    a.set_label(recover)?;
    give_back(&mut a)?;

    a.set_label(enter_compat)?;
    load_state(&mut a, true)?;
    a.jmp(fword_ptr(at(offset_of!(Context, far_offset))))?;

    a.set_label(exit_compat)?;
    save_state(&mut a)?;
    a.mov(word_ptr(at(offset_of!(Context, out_ss))), ss)?;
    a.set_label(recover_compat)?;
    // The kernel has left these alone on the way to the signal handler.
    a.mov(word_ptr(at(offset_of!(Context, out_es))), es)?;
    a.mov(word_ptr(at(offset_of!(Context, out_ds))), ds)?;
    // As Linux's 64-bit processes have them.
    a.mov(eax, 0x2B)?;
    a.mov(ss, eax)?;
    a.xor(eax, eax)?;
    a.mov(ds, eax)?;
    a.mov(es, eax)?;
    give_back(&mut a)?;

    let options = iced_x86::BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let done = a.assemble_options(STUB, options)?;
    let stubs = Stubs {
        enter: done.label_ip(enter)?,
        exit: done.label_ip(exit)?,
        recover: done.label_ip(recover)?,
        enter_compat: done.label_ip(enter_compat)?,
        exit_compat: done.label_ip(exit_compat)?,
        recover_compat: done.label_ip(recover_compat)?,
    };
    Ok((done.inner.code_buffer, stubs))
}

/// Keeps what the host needs and loads what the tested code starts with; `compat`: segment registers, too.
fn load_state(a: &mut CodeAssembler, compat: bool) -> Result<(), iced_x86::IcedError> {
    for r in SAVED {
        a.push(r)?;
    }
    a.mov(qword_ptr(at(offset_of!(Context, host_rsp))), rsp)?;
    a.stmxcsr(dword_ptr(at(offset_of!(Context, host_mxcsr))))?;
    components(a)?;
    a.xrstor64(ptr(at(offset_of!(Context, in_fp))))?;
    // The flags go by the scratch stack; the moves after it leave them alone.
    a.mov(rsp, at(offset_of!(Context, scratch_top)))?;
    a.push(qword_ptr(at(offset_of!(Context, in_flags))))?;
    a.popfq()?;
    if compat {
        a.mov(es, word_ptr(at(offset_of!(Context, es))))?;
        a.mov(ds, word_ptr(at(offset_of!(Context, ds))))?;
        a.mov(ss, word_ptr(at(offset_of!(Context, ss))))?;
    }
    for (i, r) in GPR.into_iter().enumerate() {
        a.mov(r, qword_ptr(at(offset_of!(Context, in_gpr) + 8 * i)))?;
    }
    Ok(())
}

/// Saves what the tested code has ended with.
fn save_state(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    for (i, r) in GPR.into_iter().enumerate() {
        a.mov(qword_ptr(at(offset_of!(Context, out_gpr) + 8 * i)), r)?;
    }
    a.mov(rsp, at(offset_of!(Context, scratch_top)))?;
    a.pushfq()?;
    a.pop(qword_ptr(at(offset_of!(Context, out_flags))))?;
    components(a)?;
    a.xsave64(ptr(at(offset_of!(Context, out_fp))))
}

/// Loads what the host needs, and returns.
fn give_back(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    a.mov(rsp, qword_ptr(at(offset_of!(Context, host_rsp))))?;
    a.cld()?;
    a.fninit()?;
    a.ldmxcsr(dword_ptr(at(offset_of!(Context, host_mxcsr))))?;
    a.vzeroupper()?;
    for r in SAVED.into_iter().rev() {
        a.pop(r)?;
    }
    a.ret()
}

/// EDX:EAX names the state components x87, SSE, AVX.
fn components(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    a.mov(eax, 7)?;
    a.xor(edx, edx)
}
