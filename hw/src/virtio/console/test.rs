use super::*;
use crate::virtio::driver::*;
use crate::virtio::pci::PciOptions;
use Width::*;

fn console() -> Console {
    let port = |number, console, name: &str| Port { number, console, name: name.into() };
    let ports = vec![port(0, true, ""), port(1, false, "org.a"), port(7, true, "b")];
    Console::new(ConsoleConfig { ports, ..ConsoleConfig::default() })
}
fn guest() -> Guest<Console> {
    Guest::new(console(), PciOptions::default())
}
/// With a driver that has read all messages, and has opened the ports.
fn opened() -> Guest<Console> {
    let mut g = guest();
    g.start_modern(u64::MAX);
    talk(&mut g, 0xFFFF_FFFF, DEVICE_READY, 1);
    for port in [0, 1, 7] {
        talk(&mut g, port, PORT_READY, 1);
        talk(&mut g, port, PORT_OPEN, 1);
    }
    g.b.asked.clear();
    g
}
fn from(port: u16, what: Request) -> Request {
    Request::From(port, Box::new(what))
}
fn to(g: &mut Guest<Console>, port: u16, what: Input) {
    g.input(Input::To(port, Box::new(what)));
}
/// Says something and gives the answers.
fn talk(g: &mut Guest<Console>, port: u32, event: u16, value: u16) -> Vec<Vec<u8>> {
    let buffers: Vec<u64> = (0..8).map(|_| g.alloc(64)).collect();
    let first = g.rings[CONTROL_IN].index;
    for at in &buffers {
        g.queue(CONTROL_IN, &[(*at, 64, true)]);
    }
    g.kick(CONTROL_IN);
    let mut message = port.to_le_bytes().to_vec();
    message.extend([event, value].map(u16::to_le_bytes).concat());
    let at = g.bytes(&message);
    g.send(CONTROL_OUT, &[(at, 8, false)]);
    assert_eq!(g.used(CONTROL_OUT).len(), 1);
    let used = g.used(CONTROL_IN);
    let answers =
        used.iter().zip(&buffers).map(|((_, len), at)| g.get(*at, *len as usize).to_vec());
    let answers = answers.collect();
    // What was not used is taken back, as no real driver does.
    let index = first.wrapping_add(used.len() as u16);
    g.rings[CONTROL_IN].index = index;
    let at = g.rings[CONTROL_IN].avail + 2;
    g.put(at, &index.to_le_bytes());
    answers
}
fn message(port: u32, event: u16, value: u16, more: &[u8]) -> Vec<u8> {
    let mut out = port.to_le_bytes().to_vec();
    out.extend([event, value].map(u16::to_le_bytes).concat());
    out.extend(more);
    out
}

#[test]
fn the_driver_learns_of_the_ports() {
    let mut g = guest();
    assert_eq!(g.read(4, CONFIG, W64), 31 << 32);
    assert_eq!((g.read(4, 0x12, W16), g.read(4, 4, W32)), (64, 0x3000_0006));
    let sizes = [0, 1, 2, 3, 4, 63, 64].map(|n| {
        g.write(4, 0x16, W16, n);
        g.read(4, 0x18, W16)
    });
    assert_eq!(sizes, [128, 128, 32, 32, 128, 128, 0]);
    g.start_modern(u64::MAX);
    let added = talk(&mut g, 0xFFFF_FFFF, DEVICE_READY, 1);
    assert_eq!(added, [0, 1, 7].map(|n| message(n, PORT_ADD, 1, b"")));
    let ready = talk(&mut g, 0, PORT_READY, 1);
    assert_eq!(ready, [message(0, CONSOLE_PORT, 1, b""), message(0, PORT_OPEN, 1, b"")]);
    assert_eq!(talk(&mut g, 1, PORT_READY, 1), [message(1, PORT_NAME, 1, b"org.a\0")]);
    assert_eq!(talk(&mut g, 7, PORT_READY, 0), [[0u8; 0]; 0]);
    assert_eq!(talk(&mut g, 2, PORT_READY, 1), [[0u8; 0]; 0], "there is no such port");
    assert_eq!((g.status(), g.b.complaints.len()), (0xF, 1));
    to(&mut g, 1, Input::Carrier(true));
    assert_eq!(talk(&mut g, 9, PORT_OPEN, 1), [message(1, PORT_OPEN, 1, b"")]);
    assert_eq!(talk(&mut g, 1, PORT_READY, 1).len(), 2);
    to(&mut g, 1, Input::Carrier(false));
    to(&mut g, 0, Input::Carrier(false));
    assert_eq!(talk(&mut g, 9, PORT_OPEN, 1), [message(1, PORT_OPEN, 0, b"")], "a console stays");
}

#[test]
fn bytes_go_out_by_the_port_they_were_written_to() {
    let mut g = opened();
    let (a, b) = (g.bytes(b"hel"), g.bytes(b"lo"));
    g.queue(1, &[(a, 3, false), (b, 2, false)]);
    g.queue(1, &[(b, 2, false)]);
    g.kick(1);
    assert_eq!(g.b.asked, [from(0, Request::Send(b"hellolo".to_vec()))]);
    assert_eq!(g.used(1), [(0, 0), (1, 0)]);
    g.b.asked.clear();
    g.send(17, &[(b, 2, false)]);
    assert_eq!(g.b.asked, [from(7, Request::Send(b"lo".to_vec()))]);
    g.b.asked.clear();
    g.send(5, &[(b, 2, false)]);
    g.send(7, &[(b, 2, false)]);
    assert_eq!((g.b.asked.len(), g.used(5).len(), g.used(7).len()), (0, 1, 1), "nobody listens");
    g.send(1, &[(a, 3, false), (a, (1 << 20) - 2, false)]);
    assert_eq!((g.b.asked.len(), g.status()), (0, 0x4F));
}

#[test]
fn bytes_come_in_where_there_is_room() {
    let mut g = opened();
    let at = g.alloc(16);
    to(&mut g, 7, Input::Bytes(b"0123456789".to_vec()));
    assert_eq!(g.b.asked, [from(7, Request::Accept(INPUT - 10))]);
    g.send(16, &[(at, 4, true)]);
    assert_eq!((g.used(16), g.get(at, 5)), (vec![(0, 4)], &b"0123\0"[..]));
    g.move_to(console(), PciOptions::default());
    g.send(16, &[(at, 16, true)]);
    assert_eq!((g.used(16), g.get(at, 6)), (vec![(1, 6)], &b"456789"[..]));
    g.b.asked.clear();
    g.queue(16, &[(at, 16, true)]);
    to(&mut g, 7, Input::Bytes(b"x".to_vec()));
    assert_eq!((g.used(16), g.get(at, 1), g.b.asked.len()), (vec![(2, 1)], &b"x"[..], 0));
    to(&mut g, 7, Input::Bytes(vec![1; 5000]));
    assert_eq!(g.b.asked, [from(7, Request::Accept(0))]);
    talk(&mut g, 7, PORT_OPEN, 0);
    to(&mut g, 7, Input::Bytes(b"lost".to_vec()));
    talk(&mut g, 7, PORT_OPEN, 1);
    assert_eq!(g.b.asked.last(), Some(&from(7, Request::Accept(INPUT))));
    g.send(16, &[(at, 4, true)]);
    assert_eq!(g.used(16), []);
}

#[test]
fn a_driver_without_ports_has_the_first() {
    let mut g = guest();
    g.b.asked.clear();
    g.start_modern(1 << crate::virtio::VERSION_1);
    let at = g.bytes(b"abc");
    g.send(1, &[(at, 3, false)]);
    assert_eq!(g.b.asked, [from(0, Request::Send(b"abc".to_vec()))]);
    to(&mut g, 0, Input::Bytes(b"de".to_vec()));
    to(&mut g, 7, Input::Bytes(b"de".to_vec()));
    g.send(0, &[(at, 3, true)]);
    assert_eq!((g.used(0), g.get(at, 3)), (vec![(0, 2)], &b"dec"[..]));
    assert_eq!(g.d.device.s.ports[2].input.0, []);
}

#[test]
fn an_emergency_needs_no_driver() {
    let mut g = guest();
    g.b.asked.clear();
    g.write(4, CONFIG + 8, W32, b'!'.into());
    g.write(4, CONFIG + 8, W32, 0);
    g.write(4, CONFIG + 4, W32, 1);
    g.write(0, 0x14 + 8, W8, b'?'.into());
    let expected = [b"!", b"?"].map(|b| from(0, Request::Send(b.to_vec())));
    assert_eq!((g.read(4, CONFIG + 8, W32), &g.b.asked[..]), (0, &expected[..]));
}

#[test]
fn messages_that_nobody_reads_do_not_grow() {
    let mut g = guest();
    g.start_modern(u64::MAX);
    let mut ready = 0xFFFF_FFFFu32.to_le_bytes().to_vec();
    ready.extend([0, 0, 1, 0]);
    let at = g.bytes(&ready);
    for _ in 0..1000 {
        g.send(CONTROL_OUT, &[(at, 8, false)]);
    }
    assert_eq!((g.used(CONTROL_OUT).len(), g.d.device.s.messages.len()), (1000, MESSAGES));
}
