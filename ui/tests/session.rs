//! A session in this process: a machine that only echoes, and somebody at the other end of its sockets.

mod fake;

use fake::{Diary, Fake};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use ui::log::Target;
use ui::options::{self, Catalog};
use ui::session::{Session, open_chardevs};
use ui::vm::Vm;

struct Running {
    dir: PathBuf,
    diary: Diary,
    thread: JoinHandle<i32>,
}

/// Starts a session; `@` in the line is a directory of its own.
fn start(name: &str, line: &str) -> Running {
    let dir = std::env::temp_dir().join(format!("reprise-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let kernel = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let line = format!("-kernel {kernel} -display none {line}").replace('@', dir.to_str().unwrap());
    let words: Vec<String> = line.split(' ').filter(|w| !w.is_empty()).map(Into::into).collect();
    let catalog = Catalog { cpus: String::new, check_cpu: |_| Ok(()) };
    let options = options::parse(&words, &catalog).unwrap_or_else(|e| panic!("{line}: {e:?}"));
    let diary = Diary::default();
    let theirs = diary.clone();
    // A Guest stays on the thread it was made on.
    let thread = std::thread::spawn(move || {
        let (inbox, events) = ui::inbox::inbox();
        let chardevs = open_chardevs(&options, &inbox).unwrap();
        let guest = Box::new(Fake::new(&options.config, theirs));
        let vm = Vm::new(guest, &options, Target::default());
        let mut session = Session::new(vm, &options, chardevs, events);
        if !options.paused {
            session.vm.cont().unwrap();
        }
        session.run()
    });
    Running { dir, diary, thread }
}

impl Running {
    fn connect(&self, name: &str) -> UnixStream {
        connect(&self.dir.join(name))
    }

    fn end(self) -> i32 {
        let status = self.thread.join().unwrap();
        std::fs::remove_dir_all(self.dir).unwrap();
        status
    }

    fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }
}

fn connect(path: &Path) -> UnixStream {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        match UnixStream::connect(path) {
            Ok(s) => {
                s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                return s;
            }
            Err(e) if Instant::now() > give_up => panic!("{}: {e}", path.display()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Reads until `what` has come; returns all.
fn expect(from: &mut impl Read, what: &str) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(what.as_bytes()) {
        match from.read(&mut byte) {
            Ok(1) => all.push(byte[0]),
            other => {
                panic!("{other:?} instead of {what:?} after {:?}", String::from_utf8_lossy(&all))
            }
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// A QMP client.
struct Client(BufReader<UnixStream>);

impl Client {
    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    fn say(&mut self, text: &str) -> Value {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        self.read()
    }

    fn ask(&mut self, command: &str) -> Value {
        self.say(&format!("{{\"execute\": \"{command}\"}}\n"))
    }

    fn event(&mut self, name: &str, data: Option<Value>) {
        let event = self.read();
        assert_eq!(event["event"], name, "{event}");
        assert_eq!(event.get("data"), data.as_ref(), "{event}");
        assert!(event["timestamp"]["seconds"].as_u64().unwrap() > 1_600_000_000);
        assert!(event["timestamp"]["microseconds"].as_u64().unwrap() < 1_000_000);
    }
}

fn qmp(vm: &Running) -> Client {
    let mut client = Client(BufReader::new(vm.connect("qmp")));
    let greeting = client.read();
    assert_eq!(greeting["QMP"]["version"]["qemu"]["major"], 10);
    assert_eq!(greeting["QMP"]["capabilities"], json!([]));
    client
}

fn error(class: &str, desc: &str) -> Value {
    json!({"error": {"class": class, "desc": desc}})
}

#[test]
fn a_qmp_dialogue_goes_as_documented() {
    let vm = start("qmp", "-S -smp 2 -name guest=box -qmp unix:@/qmp,server=on,wait=off");
    let mut c = qmp(&vm);
    let negotiate = "Expecting capabilities negotiation with 'qmp_capabilities'";
    assert_eq!(c.ask("query-status"), error("CommandNotFound", negotiate));
    assert_eq!(
        c.say("{\"execute\":\"qmp_capabilities\",\"id\":7}\n"),
        json!({"return": {}, "id": 7})
    );
    let rows = [
        (
            r#"{"execute":"query-status"}"#,
            json!({"return": {"status": "prelaunch", "running": false}}),
        ),
        (
            r#"{"execute":"query-name","id":{"a":[1]}}"#,
            json!({"return": {"name": "box"}, "id": {"a": [1]}}),
        ),
        (r#"{"execute":"query-kvm"}"#, json!({"return": {"enabled": false, "present": false}})),
        (r#"{"execute":"foo"}"#, error("CommandNotFound", "The command foo has not been found")),
        (
            r#"{"execute":"stop","arguments":{"x":1}}"#,
            error("GenericError", "Parameter 'x' is unexpected"),
        ),
        (r#"{"execute":"memsave"}"#, error("GenericError", "Parameter 'val' is missing")),
        (
            r#"{"execute":"human-monitor-command","arguments":{"command-line":5}}"#,
            error("GenericError", "Invalid parameter type for 'command-line', expected: string"),
        ),
        (r#"{"command":1}"#, error("GenericError", "QMP input lacks member 'execute'")),
        (r#"[1]"#, error("GenericError", "QMP input must be a JSON object")),
        (
            r#"{"execute":"human-monitor-command","arguments":{"command-line":"info status"}}"#,
            json!({"return": "VM status: paused (prelaunch)\r\n"}),
        ),
    ];
    for (line, want) in rows {
        assert_eq!(c.say(&format!("{line}\n")), want, "{line}");
    }
    // Not JSON: told so, and the next line is understood again.
    let answer = c.say("{\"execute\": nonsense}\n");
    assert!(answer["error"]["desc"].as_str().unwrap().starts_with("JSON parse error"), "{answer}");
    // In pieces, over several lines, and two at once.
    c.0.get_mut().write_all(b"{\"execute\":\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(c.say("\"query-cpus-fast\"}")["return"][1]["props"]["core-id"], 1);
    assert_eq!(c.say("{\"execute\":\"stop\",\"id\":1}{\"execute\":\"stop\",\"id\":2}\n")["id"], 1);
    assert_eq!(c.read()["id"], 2);

    assert_eq!(c.ask("cont"), json!({"return": {}}));
    c.event("RESUME", None);
    assert_eq!(c.ask("query-status")["return"], json!({"status": "running", "running": true}));
    assert_eq!(c.ask("stop"), json!({"return": {}}));
    c.event("STOP", None);
    c.ask("cont");
    c.event("RESUME", None);
    c.ask("system_powerdown");
    c.event("POWERDOWN", None);
    c.ask("system_reset");
    c.event("RESET", Some(json!({"guest": false, "reason": "host-qmp-system-reset"})));
    c.ask("inject-nmi");
    c.say(concat!(
        r#"{"execute":"send-key","arguments":{"hold-time":1,"keys":"#,
        r#"[{"type":"qcode","data":"ctrl"},{"type":"number","data":30}]}}"#
    ));
    let give_up = Instant::now() + Duration::from_secs(10);
    while !vm.diary().contains(&"key 0x1d up".to_string()) {
        assert!(Instant::now() < give_up, "{:?}", vm.diary());
        std::thread::sleep(Duration::from_millis(5));
    }
    let keys = ["key 0x1d down", "key 0x1e down", "key 0x1e up", "key 0x1d up"];
    assert_eq!(vm.diary(), [&["power button", "reset", "nmi"][..], &keys].concat());
    let known = c.ask("query-commands")["return"].clone();
    for command in known.as_array().unwrap() {
        assert!(command["name"].is_string());
    }
    assert_eq!(c.ask("quit"), json!({"return": {}}));
    c.event("SHUTDOWN", Some(json!({"guest": false, "reason": "host-qmp-quit"})));
    assert_eq!(vm.end(), 0);
}

#[test]
fn a_client_that_comes_back_is_greeted_again() {
    let vm = start("again", "-qmp unix:@/qmp,server,nowait");
    let mut c = qmp(&vm);
    c.ask("qmp_capabilities");
    drop(c);
    let mut c = qmp(&vm);
    c.ask("qmp_capabilities");
    c.ask("quit");
    assert_eq!(vm.end(), 0);
}

#[test]
fn what_the_guest_does_becomes_events_and_an_exit_status() {
    #[rustfmt::skip]
    type Events<'a> = &'a [(&'a str, Option<Value>)];
    let rows: &[(&str, &[u8], Events, i32)] = &[
        ("", b"P", &[("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-shutdown"})))], 0),
        ("", b"E", &[("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-shutdown"})))], 33),
        (
            "",
            b"RP",
            &[
                ("RESET", Some(json!({"guest": true, "reason": "guest-reset"}))),
                ("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-shutdown"}))),
            ],
            0,
        ),
        (
            "-no-reboot",
            b"R",
            &[("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-reset"})))],
            0,
        ),
        (
            "",
            b"!",
            &[
                ("GUEST_PANICKED", Some(json!({"action": "poweroff"}))),
                ("STOP", None),
                ("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-panic"}))),
            ],
            0,
        ),
        (
            "-action panic=exit-failure",
            b"!",
            &[
                ("GUEST_PANICKED", Some(json!({"action": "poweroff"}))),
                ("STOP", None),
                ("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-panic"}))),
            ],
            1,
        ),
        (
            "-action panic=none",
            b"!P",
            &[
                ("GUEST_PANICKED", Some(json!({"action": "run"}))),
                ("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-shutdown"}))),
            ],
            0,
        ),
    ];
    for (n, (options, bytes, events, status)) in rows.iter().enumerate() {
        let vm = start(
            &format!("events{n}"),
            &format!("{options} -serial unix:@/serial,server,nowait -qmp unix:@/qmp,server,nowait"),
        );
        let mut c = qmp(&vm);
        c.ask("qmp_capabilities");
        vm.connect("serial").write_all(bytes).unwrap();
        for (name, data) in *events {
            c.event(name, data.clone());
        }
        assert_eq!(vm.end(), *status, "{options} {bytes:?}");
    }
}

#[test]
fn with_no_shutdown_the_machine_waits_for_a_reset() {
    let vm = start(
        "noshut",
        "-no-shutdown -serial unix:@/serial,server,nowait -qmp unix:@/qmp,server,nowait",
    );
    let mut c = qmp(&vm);
    c.ask("qmp_capabilities");
    vm.connect("serial").write_all(b"P").unwrap();
    c.event("SHUTDOWN", Some(json!({"guest": true, "reason": "guest-shutdown"})));
    c.event("STOP", None);
    assert_eq!(c.ask("query-status")["return"]["status"], "shutdown");
    assert_eq!(c.ask("cont"), error("GenericError", "Resetting the Virtual Machine is required"));
    c.ask("system_reset");
    c.event("RESET", Some(json!({"guest": false, "reason": "host-qmp-system-reset"})));
    assert_eq!(c.ask("cont"), json!({"return": {}}));
    c.event("RESUME", None);
    c.ask("quit");
    assert_eq!(vm.end(), 0);
}

#[test]
fn the_monitor_for_people_answers() {
    let vm = start(
        "hmp",
        "-smp 2 -chardev ringbuf,id=ring -serial chardev:ring -monitor unix:@/mon,server,nowait",
    );
    let mut s = vm.connect("mon");
    let hello = expect(&mut s, "(qemu) ");
    assert!(hello.contains("monitor - type 'help' for more information\r\n"), "{hello}");
    let state = vm.dir.join("state");
    let piece = vm.dir.join("piece");
    let state = state.to_str().unwrap();
    let piece = piece.to_str().unwrap();
    let save = format!("savevm {state}");
    let load = format!("loadvm {state}");
    let load_bad = format!("loadvm {piece}");
    let no_load = format!("Error: cannot load '{piece}': not a machine's state\r\n");
    let memory = format!("pmemsave 0x10 16 {piece}");
    let rows: &[(&str, &str)] = &[
        ("info status", "VM status: running\r\n"),
        ("stop", ""),
        ("info status", "VM status: paused\r\n"),
        ("c", ""),
        ("foo", "unknown command: 'foo'\r\n"),
        ("stop now", "stop: extraneous characters at the end of line\r\n"),
        ("x/4xb 0x10", "0000000000000010: 0x10 0x11 0x12 0x13\r\n"),
        ("xp/2xw $rip + 4", "0000000000000104: 0x07060504 0x0b0a0908\r\n"),
        ("x 0", "0000000000000000: 0x03020100\r\n"),
        ("x/xg 0xffff", "000000000000ffff:\r\nCannot access memory\r\n"),
        ("x/i 0x90", "0x0000000000000090:  90                       nop\r\n"),
        ("p/x 1+0x10*2", "0x21\r\n"),
        ("p 'A'", "65\r\n"),
        ("p $foo", "Error: unknown register $foo\r\n"),
        ("i/w 0x60", "portl[0x0060] = 0x00006004\r\n"),
        ("i 0x60", "portb[0x0060] = 0x01\r\n"),
        ("o /b 0x80 0x12", ""),
        ("info registers -a", "\r\nCPU#0\r\nEAX=00000000\r\n\r\nCPU#1\r\nEAX=00000001\r\n"),
        ("cpu 1", ""),
        ("cpu 2", "Error: invalid CPU index '2': expected 0 to 1\r\n"),
        ("info registers", "\r\nCPU#1\r\nEAX=00000001\r\n"),
        ("info lapic", "lapic of 1\r\n"),
        ("info pic", "Error: info pic: this machine has nothing to say about it\r\n"),
        ("info foo", "Error: unknown command: 'info foo'\r\n"),
        ("ringbuf_read ring 5", "hello\r\n"),
        ("sendkey foo", "Error: unknown key: 'foo'\r\n"),
        ("log int,unimp", ""),
        (
            "log foo",
            "Error: no log item 'foo': expected some of in_asm, int, exec, cpu, cpu_reset, guest_errors, unimp\r\n",
        ),
        ("boot_set n", "Error: boot_set: there is no firmware yet that could use it\r\n"),
        (&memory, ""),
        (&save, ""),
        (&load, ""),
        (&load_bad, &no_load),
    ];
    for (line, want) in rows {
        s.write_all(format!("{line}\r").as_bytes()).unwrap();
        let answer = expect(&mut s, "(qemu) ");
        assert_eq!(answer, format!("{line}\r\n{want}(qemu) "), "{line}");
    }
    assert_eq!(std::fs::read(piece).unwrap(), (16..32).collect::<Vec<u8>>());
    assert_eq!(vm.diary(), ["port 0x80 1 0x12"]);
    // The tab key completes.
    s.write_all(b"info regi\t\r").unwrap();
    expect(&mut s, "info registers \r\n");
    expect(&mut s, "(qemu) ");
    s.write_all(b"q\r").unwrap();
    assert_eq!(vm.end(), 0);
}

#[test]
fn a_shared_line_switches_between_console_and_monitor() {
    let vm = start("mux", "-serial mon:unix:@/serial,server");
    let mut s = vm.connect("serial");
    expect(&mut s, "hello\r\n");
    s.write_all(b"abc\x01\x01").unwrap();
    expect(&mut s, "abc\x01");
    s.write_all(b"\x01h").unwrap();
    expect(&mut s, "C-a x    exit emulator\r\n");
    s.write_all(b"\x01cinfo version\r\x01cdef").unwrap();
    expect(&mut s, "(qemu) info version\r\n");
    expect(&mut s, "(qemu) def");
    s.write_all(b"\x01b\x01t\r\n").unwrap();
    expect(&mut s, "[00:00:");
    s.write_all(b"\x01x").unwrap();
    expect(&mut s, "reprise: Terminated\r\n");
    assert_eq!(vm.diary(), ["Break"]);
    assert_eq!(vm.end(), 0);
}

#[test]
fn much_input_is_handed_over_as_there_is_room() {
    let vm = start("flood", "-serial unix:@/serial,server=on");
    let mut s = vm.connect("serial");
    let data: Vec<u8> = (0..100_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    let mut out = s.try_clone().unwrap();
    let sent = data.clone();
    expect(&mut s, "hello\r\n");
    let sender = std::thread::spawn(move || out.write_all(&sent).unwrap());
    let mut back = vec![0; data.len()];
    s.read_exact(&mut back).unwrap();
    sender.join().unwrap();
    assert!(back == data);
    // Very much output, and the end right after: nothing is lost.
    s.write_all(b"LTP").unwrap();
    let mut s = BufReader::new(s);
    for n in 0..50_000 {
        let mut line = String::new();
        s.read_line(&mut line).unwrap();
        assert_eq!(line, format!("line {n}\n"));
    }
    assert_eq!(vm.diary(), ["time true"]);
    assert_eq!(vm.end(), 0);
}

#[test]
fn files_pipes_and_logs_are_written() {
    let dir = std::env::temp_dir().join(format!("reprise-{}-files", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let pipe = dir.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    let input = dir.join("input");
    std::fs::write(&input, "from a file").unwrap();
    let vm = start(
        "files",
        "-chardev file,id=f,path=@/out,input-path=@/input,logfile=@/log -serial chardev:f \
         -serial pipe:@/pipe -qmp unix:@/qmp,server,nowait",
    );
    let mut c = qmp(&vm);
    c.ask("qmp_capabilities");
    let mut p = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    expect(&mut p, "hello\r\n");
    let give_up = Instant::now() + Duration::from_secs(10);
    let want = "hello\r\nfrom a file";
    while std::fs::read_to_string(dir.join("out")).unwrap() != want {
        assert!(Instant::now() < give_up);
        std::thread::sleep(Duration::from_millis(5));
    }
    let info = c.ask("query-chardev");
    let labels = info["return"].as_array().unwrap().iter().map(|l| l["label"].as_str().unwrap());
    assert_eq!(labels.collect::<Vec<_>>(), ["f", "compat_monitor0", "serial1"], "{info}");
    c.ask("quit");
    assert_eq!(std::fs::read_to_string(dir.join("log")).unwrap(), want);
    assert_eq!(vm.end(), 0);
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn nonsense_is_answered_and_never_ends_the_session() {
    let vm = start(
        "nonsense",
        "-smp 2 -serial mon:unix:@/mon,server,nowait -qmp unix:@/qmp,server,nowait",
    );
    // Commands that would write files, or end the session as they should, are not rolled.
    let words: &[&str] = &[
        "x",
        "xp",
        "p",
        "print",
        "info",
        "registers",
        "-a",
        "sendkey",
        "ctrl-a-",
        "i",
        "o",
        "cpu",
        "log",
        "int",
        "/",
        "/4294967296xg",
        "/3i",
        "/z",
        "/wx",
        "$rip",
        "$",
        "-1",
        "0xffffffffffffffff",
        "(",
        ")",
        "+",
        "*",
        "/0",
        "%0",
        "~",
        "'",
        "'a",
        "\t",
        "\x1b[A",
        "\x1b[D",
        "\x1b[3~",
        "\x17",
        "\x15",
        "\x7f",
        "\u{e9}",
        "\x01c",
        "\x01b",
        "\x01t",
        "help",
        "nmi",
        "stop",
        "c",
        "system_reset",
        "1",
        "65535",
        "\"",
    ];
    let mut dice = Dice(1);
    let mut s = vm.connect("mon");
    let mut out = s.try_clone().unwrap();
    let reader =
        std::thread::spawn(move || expect(&mut BufReader::new(&mut out), "\n4886718345\r\n"));
    s.write_all(b"\x01c").unwrap();
    let mut switched = 1;
    for _ in 0..3000 {
        let mut line = String::new();
        for _ in 0..dice.roll(6) {
            line += words[dice.roll(words.len())];
            line += if dice.roll(3) > 0 { " " } else { "" };
        }
        switched += line.matches("\x01c").count();
        s.write_all(format!("{line}\r").as_bytes()).unwrap();
    }
    if switched % 2 == 0 {
        s.write_all(b"\x01c").unwrap();
    }
    s.write_all(b"...\r\x15\x0b\rp 0x123456789\r").unwrap();
    let said = reader.join().unwrap();
    for sign in ["unknown command", "unknown register", "invalid char in format", "info lapic"] {
        assert!(said.contains(sign), "{sign}");
    }
    let pieces: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        "\"execute\"",
        ":",
        ",",
        "\"query-status\"",
        "\"arguments\"",
        "\"id\"",
        "1",
        "null",
        "1e999",
        "\"\\ud800\"",
        "\n",
        " ",
        "\u{e9}",
        "{\"execute\":\"send-key\",\"arguments\":{\"keys\":[{}]}}",
        "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":-1}}",
        "{\"execute\":\"ringbuf-read\"}",
    ];
    let mut c = qmp(&vm);
    c.ask("qmp_capabilities");
    let mut q = c.0.get_ref().try_clone().unwrap();
    let answers = std::thread::spawn(move || {
        loop {
            let answer = c.read();
            if answer["id"] == "the end" {
                return answer;
            }
        }
    });
    for _ in 0..3000 {
        let line: String = (0..dice.roll(9)).map(|_| pieces[dice.roll(pieces.len())]).collect();
        q.write_all(line.as_bytes()).unwrap();
    }
    q.write_all("[".repeat(100_000).as_bytes()).unwrap();
    // Whatever is open now, a line that can only be wrong ends it.
    q.write_all(b"\n}}}\n\"}\n{\"execute\":\"quit\",\"id\":\"the end\"}\n").unwrap();
    assert_eq!(answers.join().unwrap()["return"], json!({}));
    assert_eq!(vm.end(), 0);
}
