//! Loops that tests compare and benchmarks time. All run for ever.

use crate::guest::{DATA, asm};
use iced_x86::code_asm::*;

/// Sums 64 KiB byte by byte, over and over.
pub fn byte_sum() -> Vec<u8> {
    asm(|a| {
        let (mut outer, mut inner) = (a.create_label(), a.create_label());
        a.set_label(&mut outer)?;
        a.mov(rsi, DATA)?;
        a.lea(rdi, rsi + 0x10000)?;
        a.set_label(&mut inner)?;
        a.movzx(ecx, byte_ptr(rsi))?;
        a.add(rax, rcx)?;
        a.inc(rsi)?;
        a.cmp(rsi, rdi)?;
        a.jne(inner)?;
        a.jmp(outer)
    })
}

/// Builds a ring of 4096 nodes and walks it.
pub fn linked_list() -> Vec<u8> {
    asm(|a| {
        let (mut build, mut walk) = (a.create_label(), a.create_label());
        a.mov(rdi, DATA)?;
        a.xor(ecx, ecx)?;
        a.set_label(&mut build)?;
        a.lea(edx, rcx + 1237)?;
        a.and(edx, 4095)?;
        a.mov(eax, ecx)?;
        a.shl(rax, 6)?;
        a.mov(r8, rdx)?;
        a.shl(r8, 6)?;
        a.add(r8, rdi)?;
        a.mov(qword_ptr(rdi + rax), r8)?;
        a.mov(dword_ptr(rdi + rax + 8), ecx)?;
        a.inc(ecx)?;
        a.cmp(ecx, 4096)?;
        a.jb(build)?;
        a.mov(rsi, rdi)?;
        a.set_label(&mut walk)?;
        a.mov(edx, dword_ptr(rsi + 8))?;
        a.add(rbx, rdx)?;
        a.mov(rsi, qword_ptr(rsi))?;
        a.test(rsi, rsi)?;
        a.jne(walk)?;
        a.hlt()
    })
}

/// The sieve of Eratosthenes up to 64 Ki.
pub fn sieve() -> Vec<u8> {
    asm(|a| {
        let (mut again, mut clear, mut next, mut strike, mut skip) = (
            a.create_label(),
            a.create_label(),
            a.create_label(),
            a.create_label(),
            a.create_label(),
        );
        a.mov(rdi, DATA)?;
        a.set_label(&mut again)?;
        a.xor(ecx, ecx)?;
        a.set_label(&mut clear)?;
        a.mov(qword_ptr(rdi + rcx), 0)?;
        a.add(ecx, 8)?;
        a.cmp(ecx, 65536)?;
        a.jb(clear)?;
        a.mov(ecx, 2)?;
        a.set_label(&mut next)?;
        a.cmp(byte_ptr(rdi + rcx), 0)?;
        a.jne(skip)?;
        a.inc(ebx)?;
        a.lea(edx, rcx + rcx)?;
        a.set_label(&mut strike)?;
        a.mov(byte_ptr(rdi + rdx), 1)?;
        a.add(edx, ecx)?;
        a.cmp(edx, 65536)?;
        a.jb(strike)?;
        a.set_label(&mut skip)?;
        a.inc(ecx)?;
        a.cmp(ecx, 32768)?;
        a.jb(next)?;
        a.jmp(again)
    })
}

/// Arithmetic with unpredictable branches.
pub fn branchy() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut odd, mut done, mut big) =
            (a.create_label(), a.create_label(), a.create_label(), a.create_label());
        a.mov(rax, 0x9e3779b97f4a7c15u64)?;
        a.set_label(&mut top)?;
        a.mov(rcx, rax)?;
        a.shl(rcx, 13)?;
        a.xor(rax, rcx)?;
        a.mov(rcx, rax)?;
        a.shr(rcx, 7)?;
        a.xor(rax, rcx)?;
        a.test(al, 1)?;
        a.jne(odd)?;
        a.add(rbx, rax)?;
        a.cmp(ecx, 0x40000000)?;
        a.ja(big)?;
        a.sub(rdx, 3)?;
        a.jmp(done)?;
        a.set_label(&mut odd)?;
        a.adc(rdx, rcx)?;
        a.rol(rbx, 3)?;
        a.jmp(done)?;
        a.set_label(&mut big)?;
        a.imul_3(r8, rcx, 77)?;
        a.sbb(rbx, r8)?;
        a.set_label(&mut done)?;
        a.inc(r9)?;
        a.jmp(top)
    })
}

/// Calls that come back, that come back elsewhere, that never come back, and one that finds other code where it comes back.
pub fn returns() -> Vec<u8> {
    asm(|a| {
        let [mut top, mut deep, mut bottom, mut away, mut beyond, mut inner, mut next] =
            std::array::from_fn(|_| a.create_label());
        let [mut pop, mut patch, mut code, mut still, mut indirect] =
            std::array::from_fn(|_| a.create_label());
        a.set_label(&mut top)?;
        a.inc(r9)?;
        // Deeper than the host's stack has frames, now and then.
        a.mov(ecx, 3)?;
        a.mov(eax, 700)?;
        a.test(r9b, 15)?;
        a.cmove(ecx, eax)?;
        a.call(deep)?;
        // It comes back behind the INC.
        a.call(away)?;
        a.inc(r10)?;
        a.set_label(&mut pop)?;
        // Its callee comes back here.
        a.call(beyond)?;
        a.add(r11, 5)?;
        // It takes its words along.
        a.push(rax)?;
        a.push(rcx)?;
        a.lea(rax, ptr(indirect))?;
        a.mov(edx, DATA as u32)?;
        a.mov(qword_ptr(rdx), rax)?;
        a.call(qword_ptr(rdx))?;
        a.push(rcx)?;
        a.push(r9)?;
        a.call(rax)?;
        // Where it is.
        a.call(next)?;
        a.set_label(&mut next)?;
        a.pop(rdx)?;
        a.add(r12, rdx)?;
        // It changes the constant that is added behind it.
        a.test(r9b, 31)?;
        a.jne(still)?;
        a.call(patch)?;
        a.set_label(&mut code)?;
        a.add(r13d, 0x01020304)?;
        a.set_label(&mut still)?;
        a.jmp(top)?;

        a.set_label(&mut deep)?;
        a.dec(ecx)?;
        a.je(bottom)?;
        a.call(deep)?;
        a.add(rbx, rcx)?;
        a.set_label(&mut bottom)?;
        a.ret()?;
        a.set_label(&mut away)?;
        a.lea(rax, ptr(pop))?;
        a.mov(qword_ptr(rsp), rax)?;
        a.ret()?;
        a.set_label(&mut beyond)?;
        a.call(inner)?;
        a.set_label(&mut inner)?;
        a.add(r14, 1)?;
        a.add(rsp, 8)?;
        a.ret()?;
        a.set_label(&mut indirect)?;
        a.add(r15, qword_ptr(rsp + 8))?;
        a.ret_1(16)?;
        a.set_label(&mut patch)?;
        a.inc(byte_ptr(code) + 3)?;
        a.ret()
    })
}

/// Recursive Fibonacci numbers: calls, returns and the stack.
pub fn fibonacci() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut fib, mut small) = (a.create_label(), a.create_label(), a.create_label());
        a.set_label(&mut top)?;
        a.mov(edi, 18)?;
        a.call(fib)?;
        a.add(r8, rax)?;
        a.jmp(top)?;
        a.set_label(&mut fib)?;
        a.cmp(edi, 2)?;
        a.jl(small)?;
        a.push(rbx)?;
        a.push(rdi)?;
        a.dec(edi)?;
        a.call(fib)?;
        a.mov(rbx, rax)?;
        a.pop(rdi)?;
        a.sub(edi, 2)?;
        a.call(fib)?;
        a.add(rax, rbx)?;
        a.pop(rbx)?;
        a.ret()?;
        a.set_label(&mut small)?;
        a.mov(eax, edi)?;
        a.ret()
    })
}

/// A dot product of doubles in memory, one after the other, and four floats at a time.
pub fn floats() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut fill, mut dot, mut packed) =
            (a.create_label(), a.create_label(), a.create_label(), a.create_label());
        a.xor(ecx, ecx)?;
        a.mov(edi, DATA as u32)?;
        a.set_label(&mut fill)?;
        a.cvtsi2sd(xmm0, ecx)?;
        a.movsd_2(qword_ptr(rdi + rcx * 8), xmm0)?;
        a.inc(ecx)?;
        a.cmp(ecx, 1024)?;
        a.jb(fill)?;
        a.xorps(xmm1, xmm1)?;
        a.set_label(&mut top)?;
        a.xor(ecx, ecx)?;
        a.set_label(&mut dot)?;
        a.movsd_2(xmm0, qword_ptr(rdi + rcx * 8))?;
        a.mulsd(xmm0, xmm0)?;
        a.addsd(xmm1, xmm0)?;
        a.inc(rcx)?;
        a.cmp(rcx, 1024)?;
        a.jne(dot)?;
        a.xor(ecx, ecx)?;
        a.set_label(&mut packed)?;
        a.movaps(xmm2, xmmword_ptr(rdi + rcx))?;
        a.mulps(xmm2, xmm3)?;
        a.addps(xmm4, xmm2)?;
        a.add(ecx, 16)?;
        a.cmp(ecx, 8192)?;
        a.jb(packed)?;
        a.cvttsd2si(rax, xmm1)?;
        a.comisd(xmm1, xmm0)?;
        a.seta(bl)?;
        a.jmp(top)
    })
}

/// Those that only tests want.
pub fn odd() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("self-modifying", self_modifying()),
        ("across pages", across_pages()),
        ("device", device()),
        ("mixture", mixture()),
        ("kernel", kernel()),
        ("returns", returns()),
    ]
}

/// All of them, with names.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("byte sum", byte_sum()),
        ("linked list", linked_list()),
        ("sieve", sieve()),
        ("branchy", branchy()),
        ("fibonacci", fibonacci()),
        ("floats", floats()),
    ]
}

/// Changes an immediate inside its own loop, and one in a routine it calls.
pub fn self_modifying() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut here, mut routine, mut there, mut over) = (
            a.create_label(),
            a.create_label(),
            a.create_label(),
            a.create_label(),
            a.create_label(),
        );
        a.jmp(over)?;
        a.set_label(&mut routine)?;
        a.nop()?;
        a.set_label(&mut there)?;
        a.mov(eax, 0x11223344)?;
        a.ret()?;
        a.set_label(&mut over)?;
        a.lea(rsi, qword_ptr(here))?;
        a.lea(rdi, qword_ptr(there))?;
        a.set_label(&mut top)?;
        a.inc(ecx)?;
        a.mov(byte_ptr(rsi + 2), cl)?;
        a.nop()?;
        a.set_label(&mut here)?;
        a.mov(edx, 0x55667788)?;
        a.add(rbx, rdx)?;
        a.test(ecx, 31)?;
        a.jne(top)?;
        a.mov(dword_ptr(rdi + 1), ebx)?;
        a.call(routine)?;
        a.add(r8, rax)?;
        a.jmp(top)
    })
}

/// A loop that a page boundary cuts through the middle of an instruction, and a routine in another page.
pub fn across_pages() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut far) = (a.create_label(), a.create_label());
        a.jmp(top)?;
        a.nops_with_size(4096 - 5 - 24)?;
        a.set_label(&mut top)?;
        for _ in 0..7 {
            a.add(rax, rcx)?;
        }
        a.mov(rdx, 0x1122334455667788u64)?;
        a.add(rbx, rdx)?;
        a.inc(rcx)?;
        a.call(far)?;
        a.jmp(top)?;
        a.nops_with_size(5000)?;
        a.set_label(&mut far)?;
        a.xor(rax, rbx)?;
        a.ror(rax, 3)?;
        a.ret()
    })
}

/// Reads and writes a device in the middle of arithmetic. The device answers with the count of instructions.
pub fn device() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut rarely) = (a.create_label(), a.create_label());
        a.mov(esi, crate::guest::DEVICE as u32)?;
        a.mov(edi, DATA as u32)?;
        a.set_label(&mut top)?;
        a.inc(ecx)?;
        a.add(rbx, rcx)?;
        a.mov(qword_ptr(rdi), rbx)?;
        a.test(ecx, 63)?;
        a.jne(rarely)?;
        a.mov(rax, qword_ptr(rsi))?;
        a.add(rbx, rax)?;
        a.mov(dword_ptr(rsi + 16), ecx)?;
        a.add(qword_ptr(rsi + 8), 3)?;
        a.set_label(&mut rarely)?;
        a.add(rbx, qword_ptr(rdi + 1))?;
        a.rdtsc()?;
        a.sub(rbx, rax)?;
        a.jmp(top)
    })
}

/// String instructions, divisions, shifts by variable counts, conditional moves, odd widths.
pub fn mixture() -> Vec<u8> {
    asm(|a| {
        let (mut top, mut odd) = (a.create_label(), a.create_label());
        a.mov(r15, 0x123456789abcdefu64)?;
        a.set_label(&mut top)?;
        a.imul_3(r15, r15, 0x5851f42d)?;
        a.add(r15, 12345)?;
        a.mov(rcx, r15)?;
        a.shr(rcx, 40)?;
        a.mov(rax, r15)?;
        a.xor(edx, edx)?;
        a.mov(r8d, ecx)?;
        a.or(r8, 1)?;
        a.div(r8)?;
        a.add(rbx, rdx)?;
        a.shl(rbx, cl)?;
        a.jc(odd)?;
        a.mov(edi, DATA as u32)?;
        a.mov(esi, DATA as u32 + 4090)?;
        a.and(ecx, 31)?;
        a.rep().movsb()?;
        a.mov(qword_ptr(rsi), r15)?;
        a.cmp(r15d, ebx)?;
        a.cmovb(rax, rbx)?;
        a.setle(dh)?;
        a.set_label(&mut odd)?;
        a.rcr(ax, 3)?;
        a.adc(r9, rax)?;
        a.sar(r9w, cl)?;
        a.movsx(r10d, r9b)?;
        a.push(r10)?;
        a.pop(r11)?;
        a.cdq()?;
        a.mov(r12d, 77)?;
        a.idiv(r12d)?;
        a.sub(r13d, eax)?;
        a.bsf(rdx, r13)?;
        a.cmovne(r14, rdx)?;
        a.jmp(top)
    })
}

/// What kernels do all the time: the interrupt flag, SWAPGS, flags of all kinds on the stack, and sums with carries.
pub fn kernel() -> Vec<u8> {
    const GS_BASE: u32 = 0xc000_0101;
    asm(|a| {
        for (msr, base) in [(GS_BASE, DATA), (GS_BASE + 1, DATA + 0x1000)] {
            a.mov(ecx, msr)?;
            a.mov(eax, base as u32)?;
            a.xor(edx, edx)?;
            a.wrmsr()?;
        }
        a.mov(rbx, 0x9e37_79b9_7f4a_7c15u64)?;
        let mut top = a.create_label();
        a.set_label(&mut top)?;
        a.swapgs()?;
        a.add(qword_ptr(8).gs(), rbx)?;
        a.pushfq()?;
        a.cli()?;
        a.adc(r8, qword_ptr(8).gs())?;
        a.pop(rax)?;
        a.sbb(r9, rax)?;
        a.pushfq()?;
        a.shl(rbx, 3)?;
        a.pushfq()?;
        a.rol(rbx, 7)?;
        a.pushfq()?;
        a.mov(rdx, rbx)?;
        a.mulx(rsi, rdi, r8)?;
        a.test(rdi, rdi)?;
        a.adcx(r10, rsi)?;
        a.adox(r11, rdi)?;
        a.adcx(r10, qword_ptr(8).gs())?;
        a.adox(r11, rsi)?;
        a.pushfq()?;
        a.adc(r12, 0)?;
        a.imul_2(r13, rbx)?;
        a.pushfq()?;
        a.cmp(r13, r12)?;
        a.sbb(rbp, rbp)?;
        a.pushfq()?;
        a.sti()?;
        a.mov(rax, rbx)?;
        a.mul(r13)?;
        a.adc(rdx, rbp)?;
        a.seto(cl)?;
        for _ in 0..6 {
            a.pop(rax)?;
            a.rol(r14, 5)?;
            a.xor(r14, rax)?;
        }
        a.add(rbx, rdx)?;
        a.jmp(top)
    })
}
