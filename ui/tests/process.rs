//! The whole program as a process of its own: terminals, signals, exit statuses.
//!
//! This file is its own program: with `REPRISE_FAKE` in its environment it is the emulator with a fake machine, and
//! otherwise it runs the tests, which start it again.

mod fake;

use fake::{Diary, Fake};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use ui::options::Catalog;

type Test = fn(&Path);

const TESTS: &[(&str, Test)] = &[
    ("the_terminal_is_as_before_however_it_ends", terminal_is_restored),
    ("on_stdio_alone_signals_still_work", stdio_keeps_signals),
    ("no_input_is_no_reason_to_spin_or_leave", no_input),
    ("a_slow_reader_loses_nothing", slow_reader),
    ("a_stuck_reader_does_not_outlive_a_signal", stuck_reader),
    ("a_closed_standard_output_is_no_obstacle", closed_output),
    ("what_cannot_be_opened_is_told", cannot_open),
    ("a_pty_can_be_opened_again_and_again", pty_again),
    ("files_of_a_run_go_with_it", files_go),
    ("the_log_goes_where_it_should", logs),
    ("a_telnet_client_can_send_a_break", telnet),
    ("a_client_tries_again", reconnect),
];

/// Each test ends long before this.
const LIMIT: Duration = Duration::from_secs(120);

fn main() {
    if std::env::var_os("REPRISE_FAKE").is_some() {
        let catalog = Catalog { cpus: || "max\n".to_string(), check_cpu: |_| Ok(()) };
        let args = std::env::args_os().skip(1);
        let status =
            ui::program::run(args, &catalog, |c| Ok(Box::new(Fake::new(c, Diary::default()))));
        std::process::exit(status);
    }
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let dir = std::env::temp_dir().join(format!("reprise-process-{}", std::process::id()));
    for (name, test) in TESTS.iter().filter(|t| t.0.contains(&wanted)) {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        println!("test {name} ...");
        let done = Arc::new(AtomicBool::new(false));
        let watched = done.clone();
        let watch = move || {
            std::thread::sleep(LIMIT);
            if !watched.load(SeqCst) {
                eprintln!("test {name} does not end");
                std::process::exit(1);
            }
        };
        std::thread::Builder::new().spawn(watch).unwrap();
        test(&dir);
        done.store(true, SeqCst);
    }
    std::fs::remove_dir_all(&dir).unwrap();
    println!("all ok");
}

/// The emulator's command; `@` in the line is the test's directory.
fn command(dir: &Path, line: &str) -> Command {
    let kernel = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let line = line.replace('@', dir.to_str().unwrap());
    let mut c = Command::new(std::env::current_exe().unwrap());
    c.env("REPRISE_FAKE", "1").env_remove("RUST_BACKTRACE");
    c.args(["-kernel", kernel]).args(line.split_whitespace());
    c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    c
}

/// Waits for the end, but not for ever.
fn end(child: &mut Child) -> ExitStatus {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > give_up {
            child.kill().unwrap();
            panic!("did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < give_up, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, s: Signal) {
    kill_process(Pid::from_child(child), s).unwrap();
}

/// Reads until `what` has come.
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
    String::from_utf8(all).unwrap()
}

fn text(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

/// A new terminal: our end, and the end for the emulator.
fn terminal() -> (File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let theirs = rustix::fs::open(name.as_c_str(), flags, 0.into()).unwrap();
    (File::from(ours), theirs)
}

fn modes(t: &Termios) -> (u32, u32, u32, u32) {
    let m = (t.input_modes.bits(), t.output_modes.bits(), t.control_modes.bits());
    (m.0, m.1, m.2, t.local_modes.bits())
}

fn terminal_is_restored(dir: &Path) {
    enum How {
        Type(&'static [u8]),
        Kill(Signal),
    }
    use How::*;
    let rows = [
        (Type(b"\x01x"), 0, "Terminated"),
        (Type(b"P"), 0, ""),
        (Type(b"E"), 33, ""),
        (Type(b"X"), 101, "a bug of the emulator"),
        (Type(b"\x01cquit\r"), 0, "(qemu) quit"),
        (Kill(Signal::TERM), 0, "reprise: terminating on signal 15 from pid"),
        (Kill(Signal::INT), 0, "reprise: terminating on signal 2 from pid"),
        (Kill(Signal::HUP), 0, "reprise: terminating on signal 1 from pid"),
    ];
    for (how, status, say) in rows {
        let (mut ours, theirs) = terminal();
        let before = tcgetattr(&theirs).unwrap();
        assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ISIG));
        let mut c = command(dir, "-nographic");
        c.stdin(theirs.try_clone().unwrap());
        c.stdout(theirs.try_clone().unwrap()).stderr(theirs.try_clone().unwrap());
        let mut child = c.spawn().unwrap();
        drop(c);
        expect(&mut ours, "hello\r");
        let during = tcgetattr(&theirs).unwrap();
        assert!(!during.local_modes.intersects(
            LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN
        ));
        // Ctrl-C is a byte like any other: the machine sends it back.
        ours.write_all(b"\x03").unwrap();
        expect(&mut ours, "\x03");
        match how {
            Type(bytes) => ours.write_all(bytes).unwrap(),
            Kill(s) => signal(&child, s),
        }
        assert_eq!(end(&mut child).code(), Some(status), "{say}");
        let after = tcgetattr(&theirs).unwrap();
        assert_eq!(modes(&before), modes(&after), "{say}");
        drop(theirs);
        let mut said = Vec::new();
        // The end of a terminal is an error.
        let _ = ours.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains(say), "{say}: {said}");
    }
}

fn stdio_keeps_signals(dir: &Path) {
    let (mut ours, theirs) = terminal();
    let mut c = command(dir, "-display none -serial stdio");
    c.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap());
    let mut child = c.spawn().unwrap();
    expect(&mut ours, "hello\r");
    let during = tcgetattr(&theirs).unwrap();
    assert!(during.local_modes.contains(LocalModes::ISIG));
    assert!(!during.local_modes.contains(LocalModes::ICANON));
    signal(&child, Signal::INT);
    assert_eq!(end(&mut child).code(), Some(0));
    assert!(tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ICANON));
}

/// Ticks of processor time that a process has used.
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn no_input(dir: &Path) {
    let mut child = command(dir, "-nographic").spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    expect(&mut out, "hello\r\n");
    let before = ticks(&child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    assert!(ticks(&child) - before < 5, "{} ticks", ticks(&child) - before);
    signal(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(0));
    let want = format!("reprise: terminating on signal 15 from pid {}\n", std::process::id());
    assert_eq!(text(child.stderr.take().unwrap()), want);
}

fn slow_reader(dir: &Path) {
    let mut c = command(dir, "-nographic");
    let mut child = c.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"LLLLP").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    let all = text(child.stdout.take().unwrap());
    assert_eq!(all.lines().count(), 1 + 4 * 50_000);
    assert!(all.ends_with("line 49999\n"));
    assert_eq!(end(&mut child).code(), Some(0));
}

fn stuck_reader(dir: &Path) {
    let mut c = command(dir, "-nographic");
    let mut child = c.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"LLLL").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(0));
}

fn closed_output(dir: &Path) {
    let mut c = command(dir, "-nographic");
    let mut child = c.stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.as_mut().unwrap().write_all(b"LLLLE").unwrap();
    assert_eq!(end(&mut child).code(), Some(33));
}

fn cannot_open(dir: &Path) {
    let _busy = UnixListener::bind(dir.join("busy")).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let d = dir.display();
    let rows = [
        ("-foo".to_string(), "-foo: no such option; see reprise -help".to_string()),
        (
            "-serial unix:@/busy,server,nowait".into(),
            format!("-serial: serial0: cannot listen on '{d}/busy': address in use"),
        ),
        (
            format!("-monitor tcp:127.0.0.1:{port},server,nowait"),
            format!(
                "-monitor: compat_monitor0: cannot listen on '127.0.0.1:{port}': Address already in use"
            ),
        ),
        (
            "-chardev socket,id=c,path=@/none -serial chardev:c".into(),
            format!("-chardev: c: cannot connect to '{d}/none': No such file or directory"),
        ),
        (
            "-serial file:@/no/file".into(),
            format!("-serial: serial0: cannot open '{d}/no/file': No such file or directory"),
        ),
        (
            "-serial pipe:@/pipe".into(),
            format!("-serial: serial0: cannot open '{d}/pipe': No such file or directory"),
        ),
        ("-D @/no/log".into(), format!("-D: cannot write '{d}/no/log': No such file or directory")),
        (
            "-loadvm @/busy".into(),
            format!("-loadvm: cannot read '{d}/busy': No such device or address"),
        ),
        (
            "-loadvm /dev/null".into(),
            "-loadvm: cannot load '/dev/null': not a machine's state".into(),
        ),
    ];
    for (line, want) in rows {
        let out = command(dir, &format!("-display none {line}")).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(said, format!("reprise: {want}\n"), "{line}");
        assert_eq!(out.status.code(), Some(1), "{line}");
    }
    let out = command(dir, "-version").output().unwrap();
    assert!(out.status.success() && out.stdout.starts_with(b"Reprise emulator version"));
}

fn pty_again(dir: &Path) {
    let mut child =
        command(dir, "-display none -serial pty -qmp unix:@/q,server,nowait").spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let line = expect(&mut out, "\n");
    let path = line.strip_prefix("char device redirected to ").unwrap();
    let path = PathBuf::from(path.strip_suffix(" (label serial0)\n").unwrap());
    for round in 0..3 {
        let mut f = File::options().read(true).write(true).open(&path).unwrap();
        // Nothing is echoed by the terminal itself, so what comes back has been through the machine.
        let say = format!("round {round}.");
        std::thread::sleep(Duration::from_millis(50));
        f.write_all(say.as_bytes()).unwrap();
        expect(&mut f, &say);
    }
    let before = ticks(&child);
    std::thread::sleep(Duration::from_millis(300));
    assert!(ticks(&child) - before < 5);
    signal(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(0));
}

fn files_go(dir: &Path) {
    let line = "-display none -pidfile @/pid -qmp unix:@/q,server,nowait";
    let mut child = command(dir, line).spawn().unwrap();
    wait_until("socket", || dir.join("q").exists());
    let pid = std::fs::read_to_string(dir.join("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", child.id()));
    signal(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(0));
    assert!(!dir.join("q").exists() && !dir.join("pid").exists());
    // What a killed run leaves behind is in nobody's way.
    let mut child = command(dir, line).spawn().unwrap();
    wait_until("socket", || dir.join("q").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.join("q").exists());
    let mut child = command(dir, line).spawn().unwrap();
    wait_until("new socket", || std::os::unix::net::UnixStream::connect(dir.join("q")).is_ok());
    signal(&child, Signal::TERM);
    assert_eq!(end(&mut child).code(), Some(0));
}

fn logs(dir: &Path) {
    for (line, to_file) in [("-d exec -D @/log.%d", true), ("-d exec", false)] {
        let mut c = command(dir, &format!("-display none -serial stdio -monitor none {line}"));
        let mut child = c.stdin(Stdio::piped()).spawn().unwrap();
        let file = dir.join(format!("log.{}", child.id()));
        expect(child.stdout.as_mut().unwrap(), "hello\r\n");
        child.stdin.as_mut().unwrap().write_all(b"P").unwrap();
        assert_eq!(end(&mut child).code(), Some(0));
        let errors = text(child.stderr.take().unwrap());
        let log = if to_file { std::fs::read_to_string(file).unwrap() } else { errors.clone() };
        assert!(log.starts_with("slice 1\n"), "{log}");
        assert_eq!(errors.is_empty(), to_file, "{errors}");
    }
}

fn telnet(dir: &Path) {
    let mut child = command(
        dir,
        "-display none -serial telnet:127.0.0.1:0,server -monitor unix:@/m,server,nowait",
    )
    .spawn()
    .unwrap();
    let line = expect(child.stderr.as_mut().unwrap(), "\n");
    let place = line.rsplit_once("telnet:").unwrap().1.split(',').next().unwrap();
    let mut s = std::net::TcpStream::connect(place).unwrap();
    let mut greeting = [0; 12];
    s.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..3], [255, 251, 1]);
    expect(&mut s, "hello\r\n");
    s.write_all(b"a\xff\xf3b\xff\xffE").unwrap();
    let mut back = [0; 4];
    s.read_exact(&mut back).unwrap();
    assert_eq!(back, *b"ab\xff\xff");
    assert_eq!(end(&mut child).code(), Some(33));
}

fn reconnect(dir: &Path) {
    let line = "-display none -chardev socket,id=c,path=@/s,reconnect-ms=20 -serial chardev:c";
    let mut child = command(dir, line).spawn().unwrap();
    let server = UnixListener::bind(dir.join("s")).unwrap();
    for _ in 0..2 {
        let mut s = server.accept().unwrap().0;
        s.write_all(b"there?").unwrap();
        expect(&mut s, "there?");
    }
    let mut s = server.accept().unwrap().0;
    s.write_all(b"P").unwrap();
    assert_eq!(end(&mut child).code(), Some(0));
}
