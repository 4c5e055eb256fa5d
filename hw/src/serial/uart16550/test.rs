use super::*;
use Width::*;

fn put(d: &mut Uart, b: &mut Bench, at: u64, value: u64) {
    d.write(Reg { bank: 0, at }, W8, value, b)
}
fn get(d: &mut Uart, b: &mut Bench, at: u64) -> u64 {
    d.read(Reg { bank: 0, at }, W8, b)
}
/// 115200 8N1 with FIFOs and interrupts let through.
fn world(paced: bool) -> (Uart, Bench) {
    let (mut d, mut b) = (Uart::new(paced), Bench::default());
    for (at, v) in [(3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xC7), (4, 0xB)] {
        put(&mut d, &mut b, at, v);
    }
    (d, b)
}
/// A character of ten bits at 115200.
const CHARACTER: Tick = 86_805;

#[test]
fn linux_finds_a_16550a() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 7, 0x5A);
    assert_eq!(get(&mut d, &mut b, 7), 0x5A);
    put(&mut d, &mut b, 1, 0xFF);
    assert_eq!(get(&mut d, &mut b, 1), 0x0F);
    put(&mut d, &mut b, 1, 0);
    assert_eq!(get(&mut d, &mut b, 2), 0xC1);
    put(&mut d, &mut b, 4, 0x1A);
    assert_eq!(get(&mut d, &mut b, 6) & 0xF0, 0x90, "the loopback test");
    put(&mut d, &mut b, 2, 0);
    assert_eq!(get(&mut d, &mut b, 2), 0x01);
}

#[test]
fn characters_leave_at_the_speed_of_the_line() {
    let (mut d, mut b) = world(true);
    for c in b"0123456789abcdef" {
        put(&mut d, &mut b, 0, u64::from(*c));
    }
    assert_eq!(get(&mut d, &mut b, 5), 0);
    assert_eq!(b.wake, Some(15 * CHARACTER), "when the FIFO is empty, and not before");
    b.run_to_wake(&mut d);
    assert_eq!((b.sent(), get(&mut d, &mut b, 5)), (b"0123456789abcde".to_vec(), 0x20));
    b.run_to_wake(&mut d);
    assert_eq!((b.now, b.wake), (16 * CHARACTER, None));
    assert_eq!((b.sent().len(), get(&mut d, &mut b, 5)), (16, 0x60));
}

#[test]
fn a_full_fifo_loses_characters() {
    let (mut d, mut b) = world(true);
    for c in 0..40 {
        put(&mut d, &mut b, 0, c);
    }
    b.run_for(&mut d, SECOND);
    assert_eq!(b.sent(), (0..17).collect::<Vec<u8>>(), "sixteen and the one being shifted");
}

#[test]
fn the_empty_interrupt_comes_once_and_again_when_enabled() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 1, 2);
    assert!(b.pin(IRQ));
    assert_eq!((get(&mut d, &mut b, 2), b.pin(IRQ)), (0xC2, false));
    assert_eq!(get(&mut d, &mut b, 2), 0xC1);
    put(&mut d, &mut b, 1, 0);
    put(&mut d, &mut b, 1, 2);
    assert_eq!(get(&mut d, &mut b, 2), 0xC2, "Linux's test of the THRE interrupt");
    put(&mut d, &mut b, 0, 1);
    put(&mut d, &mut b, 0, 2);
    assert!(!b.pin(IRQ));
    b.run_to_wake(&mut d);
    assert!(b.pin(IRQ));
}

#[test]
fn without_pacing_the_transmitter_is_always_empty() {
    let (mut d, mut b) = world(false);
    put(&mut d, &mut b, 1, 2);
    get(&mut d, &mut b, 2);
    put(&mut d, &mut b, 0, b'x'.into());
    assert_eq!((b.sent(), b.pin(IRQ), get(&mut d, &mut b, 5)), (b"x".to_vec(), true, 0x60));
    assert_eq!(b.wake, None);
}

#[test]
fn the_trigger_level_and_the_timeout_interrupt() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 1, 1);
    d.input(Input::Bytes(vec![1; 13]), &mut b);
    assert!(!b.pin(IRQ));
    d.input(Input::Bytes(vec![2]), &mut b);
    assert_eq!((b.pin(IRQ), get(&mut d, &mut b, 2)), (true, 0xC4));
    get(&mut d, &mut b, 0);
    assert!(!b.pin(IRQ));
    b.run_to_wake(&mut d);
    assert_eq!((b.now, b.pin(IRQ), get(&mut d, &mut b, 2)), (4 * CHARACTER, true, 0xCC));
    for _ in 0..13 {
        get(&mut d, &mut b, 0);
    }
    assert_eq!((b.pin(IRQ), get(&mut d, &mut b, 5)), (false, 0x60));
}

#[test]
fn the_back_end_hears_how_much_room_there_is() {
    let (mut d, mut b) = world(true);
    let room = |b: &Bench| b.asked.iter().rev().find(|r| matches!(r, Request::Accept(_))).cloned();
    assert_eq!(room(&b), Some(Request::Accept(16)));
    d.input(Input::Bytes(vec![0; 16]), &mut b);
    assert_eq!(room(&b), Some(Request::Accept(0)));
    get(&mut d, &mut b, 0);
    assert_eq!(room(&b), Some(Request::Accept(1)));
    put(&mut d, &mut b, 4, 0x10);
    assert_eq!(room(&b), Some(Request::Accept(0)));
}

#[test]
fn too_much_input_is_an_overrun() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 1, 5);
    d.input(Input::Bytes((0..20).collect()), &mut b);
    assert_eq!(get(&mut d, &mut b, 2), 0xC6);
    assert_eq!(get(&mut d, &mut b, 5), 0x63);
    assert_eq!((get(&mut d, &mut b, 5), get(&mut d, &mut b, 2)), (0x61, 0xC4));
    assert_eq!(get(&mut d, &mut b, 0), 0);
}

#[test]
fn a_break_is_an_error_of_its_character() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 1, 4);
    d.input(Input::Bytes(vec![7]), &mut b);
    d.input(Input::Break, &mut b);
    assert_eq!(get(&mut d, &mut b, 5), 0xE1, "not at the top yet");
    assert!(!b.pin(IRQ));
    get(&mut d, &mut b, 0);
    assert!(b.pin(IRQ));
    assert_eq!((get(&mut d, &mut b, 5), b.pin(IRQ)), (0xF1, false));
    put(&mut d, &mut b, 3, 0x43);
    assert_eq!(b.asked.last(), Some(&Request::SendBreak));
}

#[test]
fn loopback_returns_what_is_sent() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 4, 0x18);
    for c in [0x11, 0x22] {
        put(&mut d, &mut b, 0, c);
    }
    b.run_for(&mut d, SECOND);
    assert_eq!((get(&mut d, &mut b, 0), get(&mut d, &mut b, 0), b.sent().len()), (0x11, 0x22, 0));
}

#[test]
fn modem_changes_interrupt_last() {
    let (mut d, mut b) = world(true);
    get(&mut d, &mut b, 6);
    put(&mut d, &mut b, 1, 8);
    d.input(Input::Carrier(false), &mut b);
    assert_eq!((b.pin(IRQ), get(&mut d, &mut b, 2)), (true, 0xC0));
    assert_eq!((get(&mut d, &mut b, 6), b.pin(IRQ)), (0x38, false));
}

#[test]
fn out2_gates_the_interrupt() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 4, 3);
    put(&mut d, &mut b, 1, 2);
    assert!(!b.pin(IRQ));
    put(&mut d, &mut b, 4, 0xB);
    assert!(b.pin(IRQ));
}

#[test]
fn without_fifos_one_character_waits() {
    let (mut d, mut b) = world(true);
    put(&mut d, &mut b, 2, 0);
    for c in 1..=3 {
        put(&mut d, &mut b, 0, c);
    }
    b.run_for(&mut d, SECOND);
    assert_eq!(b.sent(), [1, 3], "the holding register was written over");
    d.input(Input::Bytes(vec![8, 9]), &mut b);
    assert_eq!((get(&mut d, &mut b, 5), get(&mut d, &mut b, 0)), (0x63, 9));
}

#[test]
fn a_slow_line_is_slow() {
    let (mut d, mut b) = world(true);
    for (at, v) in [(3, 0x80), (0, 0), (1, 9), (3, 0x1F)] {
        put(&mut d, &mut b, at, v);
    }
    put(&mut d, &mut b, 0, 0);
    assert_eq!(b.wake, Some(24 * 2304 * SECOND / CLOCK / 2), "50 baud, 8E2");
}
