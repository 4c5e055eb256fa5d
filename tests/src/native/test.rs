use super::Native;
use crate::case::*;
use crate::mode::Mode;

fn case(code: &[u8], set: impl FnOnce(&mut State)) -> Case {
    let mut state = State::plain();
    set(&mut state);
    Case {
        mode: Mode::Bits64,
        code: code.to_vec(),
        count: 1,
        seed: 0,
        state,
        mem_seed: 0,
        patches: Vec::new(),
        writes: true,
    }
}

fn page_fault(address: u64, write: bool) -> End {
    End::Fault { vector: 14, address, write }
}

#[test]
fn a_shift_gives_what_the_manual_says() {
    let mut n = Native::open().unwrap();
    let out = n.run(&case(&[0x48, 0xC1, 0xE0, 0x04], |s| s.gpr[0] = 1));
    assert_eq!((out.end, out.state.gpr[0], out.state.rip), (End::Done, 16, START + 4));
    assert_eq!(out.state.rflags & (CF | ZF | SF | PF), 0);
}

#[test]
fn a_store_to_the_guard_page_faults_with_its_address_and_leaves_memory_alone() {
    let mut n = Native::open().unwrap();
    let end = WINDOWS[0] + WINDOW_SIZE;
    // mov [rax], rcx
    let out = n.run(&case(&[0x48, 0x89, 0x08], |s| (s.gpr[0], s.gpr[1]) = (end - 4, !0)));
    assert_eq!((out.end, out.state.rip), (page_fault(end, true), START));
    assert_eq!(out.mem, []);
    let out = n.run(&case(&[0x48, 0x8B, 0x08], |s| s.gpr[0] = WINDOWS[0] - 1));
    assert_eq!(out.end, page_fault(WINDOWS[0] - 1, false));
    let out = n.run(&case(&[0x48, 0x89, 0x08], |s| (s.gpr[0], s.gpr[1]) = (end - 16, 5)));
    assert_eq!((out.end, out.mem), (End::Done, vec![(end - 16, 5)]));
    assert!(n.windows_are_clean());
}

#[test]
fn exceptions_come_with_their_vector() {
    let mut n = Native::open().unwrap();
    let mut vector = |code: &[u8], set: fn(&mut State)| match n.run(&case(code, set)).end {
        End::Fault { vector, .. } => vector,
        End::Done => 255,
    };
    assert_eq!(vector(&[0xF7, 0xF1], |_| ()), 0); // div ecx
    assert_eq!(vector(&[0x0F, 0x0B], |_| ()), 6); // ud2
    assert_eq!(vector(&[0x48, 0x8B, 0x01], |s| s.gpr[1] = 1 << 63), 13);
    assert_eq!(vector(&[0x58], |s| s.gpr[4] = 1 << 63), 12); // pop rax
    assert_eq!(vector(&[0xF4], |_| ()), 13); // hlt
    assert_eq!(vector(&[0xF3, 0x0F, 0x5E, 0xC0], |s| s.mxcsr = 0x1F00), 19); // divss, 0/0
    let pending = |s: &mut State| (s.fcw, s.fsw) = (0x37E, 0x8081);
    assert_eq!(vector(&[0xD9, 0xE8], pending), 16); // fld1
    assert_eq!(vector(&[0x90], |_| ()), 255);
}

#[test]
fn every_register_goes_in_and_comes_out() {
    let mut n = Native::open().unwrap();
    for seed in 1..200 {
        let state = State::from_seed(seed);
        let mut c = case(&[0x90], |s| *s = state.clone());
        c.mem_seed = seed;
        let out = n.run(&c);
        let mut want = state;
        want.rip += 1;
        // The processor derives the summary bits from the rest.
        assert_eq!(out.state, want, "seed {seed}");
        // The same by a fault instead of the exit code.
        c.code = vec![0x0F, 0x0B];
        let out = n.run(&c);
        want.rip -= 1;
        assert_eq!(out.state, want, "seed {seed}, by a signal");
    }
}

#[test]
fn a_branch_lands_and_is_done() {
    let mut n = Native::open().unwrap();
    let out = n.run(&case(&[0xFF, 0xE0], |s| s.gpr[0] = LANDING + 0x123)); // jmp rax
    assert_eq!((out.end, out.state.rip), (End::Done, LANDING + 0x123));
    let out = n.run(&case(&[0xFF, 0xD0], |s| s.gpr[0] = LANDING)); // call rax
    assert_eq!((out.end, out.mem), (End::Done, vec![(STACK - 8, START + 2)]));
}

#[test]
fn the_stack_pointer_may_be_anything() {
    let mut n = Native::open().unwrap();
    for rsp in [0, 8, u64::MAX, 1 << 47, 0x1234_5678_9ABC_DEF0] {
        let out = n.run(&case(&[0x48, 0xFF, 0xC0], |s| s.gpr[4] = rsp));
        assert_eq!((out.end, out.state.gpr[4], out.state.gpr[0]), (End::Done, rsp, 1));
        let out = n.run(&case(&[0x50], |s| s.gpr[4] = rsp));
        assert!(out.end != End::Done && out.state.gpr[4] == rsp);
    }
}

#[test]
fn smaller_code_uses_its_segments_and_comes_back() {
    let mut n = Native::open().unwrap();
    if let Err(e) = n.supports(Mode::Bits16) {
        return eprintln!("not run on this host: {e}");
    }
    let line = |text: &str| crate::text::Line::parse(text).unwrap().case;
    // INC, where 64-bit code has REX.
    let out = n.run(&line("40 | inc eax | bits=32 rax=5 =>"));
    assert_eq!((out.end, out.state.gpr[0], out.state.rip), (End::Done, 6, START + 1));
    // DS begins a quarter of its 64 KiB before the window.
    let out = n.run(&line("893F | mov [bx], di | bits=16 rbx=4010 rdi=1234 =>"));
    assert_eq!((out.end, out.mem), (End::Done, vec![(WINDOWS[0] + 0x10, 0x1234)]));
    let out = n.run(&line("67893B | mov [ebx], di | bits=16 rbx=10000 =>"));
    assert_eq!(out.end, End::Fault { vector: 13, address: 0, write: false });
    // Only SP counts on a 16-bit stack.
    let out = n.run(&line("50 | push ax | bits=16 rax=7 rsp=abcd4002 =>"));
    assert_eq!((out.state.gpr[4], out.mem), (0xABCD_4000, vec![(WINDOWS[1], 7)]));
    for bits in [32, 16] {
        let c = line(&format!("0F0B | ud2 | bits={bits} seed=5 =>"));
        let mut want = c.state.clone();
        want.gpr[4] &= 0xFFFF_FFFF;
        let out = n.run(&c);
        assert_eq!(
            (out.end, out.state),
            (End::Fault { vector: 6, address: 0, write: false }, want)
        );
    }
    assert!(n.windows_are_clean());
}

#[test]
fn random_cases_give_the_same_twice_and_leave_the_windows_clean() {
    use crate::generate::{Generator, rows};
    let mut n = Native::open().unwrap();
    let mut g = Generator::new(rows(true));
    let mut faults = 0;
    for index in 0..20_000 {
        let c = g.single(77, index);
        let (a, b) = (n.run(&c), n.run(&c));
        assert_eq!(a, b, "{}", crate::text::line(&c, None));
        faults += usize::from(a.end != End::Done);
        if !c.writes {
            assert!(n.windows_are_clean(), "{}", crate::text::line(&c, None));
        }
    }
    assert!(n.windows_are_clean());
    assert!((500..6000).contains(&faults), "{faults} faults in 20,000");
}
