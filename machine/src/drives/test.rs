use super::*;
use block::Info;
use std::sync::Mutex;
use std::time::Duration;

/// An image in memory whose operations fail as often as a test says.
struct Mock {
    bytes: Mutex<Vec<u8>>,
    failures: Mutex<Vec<io::ErrorKind>>,
    flushes: std::sync::atomic::AtomicU32,
}

impl Mock {
    fn new(failures: &[io::ErrorKind]) -> Arc<Mock> {
        Arc::new(Mock {
            bytes: Mutex::new(vec![7; 8192]),
            failures: Mutex::new(failures.to_vec()),
            flushes: 0.into(),
        })
    }
    fn fail(&self) -> io::Result<()> {
        self.failures.lock().unwrap().pop().map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl Image for Mock {
    fn info(&self) -> Info {
        Info { len: 8192, read_only: false, best: 512, discard: false }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.fail()?;
        let at = at as usize;
        into.copy_from_slice(&self.bytes.lock().unwrap()[at..at + into.len()]);
        Ok(())
    }
    fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        self.fail()?;
        let at = at as usize;
        self.bytes.lock().unwrap()[at..at + from.len()].copy_from_slice(from);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, SeqCst);
        self.fail()
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        self.fail()
    }
    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        self.fail()
    }
    fn resize(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

const ID: DriveId = DriveId(0);
const WHO: DeviceId = DeviceId(3);

fn drives(timed: bool, policy: OnError, image: &Arc<Mock>) -> Drives {
    let config = config::Drive {
        name: "disk0".into(),
        removable: false,
        read_error: policy,
        write_error: policy,
    };
    let mut d = Drives::new(&[config], timed);
    d.join(ID, WHO, vec![5], 1);
    d.insert(ID, Some(Disk { image: image.clone(), write_cache: true })).unwrap();
    d
}
fn ask(d: &mut Drives, now: Tick, tag: u64, op: DiskOp) {
    let what = Request::From(5, Box::new(Request::Disk { unit: 1, tag, op }));
    assert!(Drives::serves(&what));
    d.ask(now, WHO, what);
}
fn answer(tag: u64, result: Result<Vec<u8>, DiskError>) -> (DeviceId, Input) {
    let result = result.map(Buffer::from);
    (WHO, Input::To(5, Box::new(Input::Disk { unit: 1, tag, result })))
}
/// Waits for an answer that comes when the host has it.
fn wait(d: &mut Drives) -> (DeviceId, Input) {
    for _ in 0..5000 {
        if let Some(a) = d.answer(0) {
            return a;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no answer");
}
fn write(byte: u8) -> DiskOp {
    DiskOp::Write { at: 512, data: vec![byte; 512].into(), fua: false }
}

#[test]
fn an_answer_finds_its_way_back_and_wakes_the_front_end() {
    let image = Mock::new(&[]);
    let mut d = drives(false, OnError::Report, &image);
    let (to, rung) = std::sync::mpsc::channel();
    d.set_waker(Box::new(move || to.send(()).unwrap()));
    ask(&mut d, 0, 9, DiskOp::Read { at: 0, len: 512 });
    rung.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(wait(&mut d), answer(9, Ok(vec![7; 512])));
    assert_eq!(d.all[0].counts[0].bytes, 512);
    // What is for nobody's drive goes on to who else may want it.
    assert!(!Drives::serves(&Request::From(5, Box::new(Request::Reset))));
}

#[test]
fn with_instruction_counts_answers_come_at_their_time_and_never_before() {
    let image = Mock::new(&[]);
    let mut d = drives(true, OnError::Report, &image);
    ask(&mut d, 1000, 1, write(1));
    ask(&mut d, 1000, 2, DiskOp::Read { at: 0, len: 512 });
    ask(&mut d, 1000, 3, DiskOp::Flush);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(d.answer(1000 + LATENCY - 1), None);
    // The shortest first, whichever the host had done first.
    assert_eq!(d.next_due(), Some(1000 + LATENCY));
    assert_eq!(d.answer(u64::MAX), Some(answer(3, Ok(vec![]))));
    assert_eq!(d.answer(u64::MAX), Some(answer(1, Ok(vec![]))));
    assert!(d.answer(u64::MAX).is_some() && d.answer(u64::MAX).is_none());
}

#[test]
fn errors_are_told_ignored_or_held_until_the_machine_goes_on() {
    let full = io::ErrorKind::StorageFull;
    let bad = io::ErrorKind::Other;
    for (policy, kind, done) in [
        (OnError::Report, full, OnError::Report),
        (OnError::Ignore, bad, OnError::Ignore),
        (OnError::Stop, bad, OnError::Stop),
        (OnError::Enospc, full, OnError::Stop),
        (OnError::Enospc, bad, OnError::Report),
        // The guest's own mistake is not the host's business.
        (OnError::Stop, io::ErrorKind::InvalidInput, OnError::Report),
    ] {
        let image = Mock::new(&[kind]);
        let mut d = drives(true, policy, &image);
        ask(&mut d, 0, 4, write(3));
        let first = d.answer(u64::MAX);
        let [DriveEvent::Error { done: what, write: true, .. }] = &d.events[..] else { panic!() };
        assert_eq!(*what, done, "{policy:?} {kind:?}");
        assert_eq!(!d.all[0].held.is_empty(), done == OnError::Stop);
        match done {
            OnError::Stop => {
                assert_eq!(first, None);
                d.go_on(50);
                assert_eq!(d.answer(u64::MAX), Some(answer(4, Ok(vec![]))));
                assert_eq!(image.bytes.lock().unwrap()[512], 3);
            }
            OnError::Ignore => assert_eq!(first, Some(answer(4, Ok(vec![])))),
            _ => assert!(
                matches!(first, Some((_, Input::To(_, i))) if matches!(*i, Input::Disk { result: Err(_), .. }))
            ),
        }
    }
}

#[test]
fn what_was_abandoned_is_over_and_not_answered() {
    let image = Mock::new(&[]);
    for timed in [false, true] {
        let mut d = drives(timed, OnError::Report, &image);
        ask(&mut d, 0, 1, write(9));
        let abandon = Request::From(5, Box::new(Request::DiskAbandon { unit: 1 }));
        d.ask(0, WHO, abandon);
        assert_eq!(image.bytes.lock().unwrap()[512], 9);
        assert_eq!((d.answer(u64::MAX), d.next_due()), (None, None));
    }
}

#[test]
fn a_saved_state_has_the_answers_that_were_on_their_way() {
    let image = Mock::new(&[io::ErrorKind::StorageFull]);
    for timed in [false, true] {
        let mut d = drives(timed, OnError::Stop, &image);
        ask(&mut d, 0, 1, write(5));
        d.wait_all(0);
        ask(&mut d, 10, 2, DiskOp::Read { at: 0, len: 512 });
        let saved = d.save();
        assert_eq!(d.save(), saved);
        let mut other = drives(timed, OnError::Stop, &image);
        other.check(&saved).unwrap();
        other.load(&saved).unwrap();
        assert_eq!(!other.all[0].held.is_empty(), !timed);
        other.go_on(20);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (_, Input::To(5, a)) =
                (if timed { other.answer(u64::MAX).unwrap() } else { wait(&mut other) })
            else {
                panic!()
            };
            let Input::Disk { tag, result: Ok(_), .. } = *a else { panic!("{a:?}") };
            seen.push(tag);
        }
        seen.sort();
        assert_eq!(seen, [1, 2]);
        // Damage is refused, and so is another disk.
        assert!(other.check(&saved[..saved.len() - 3]).is_err());
        other.insert(ID, None).unwrap();
        assert!(other.check(&saved).is_err());
    }
}

#[test]
fn the_end_waits_for_all_and_flushes() {
    let image = Mock::new(&[]);
    let mut d = drives(false, OnError::Report, &image);
    for tag in 0..16 {
        ask(&mut d, 0, tag, write(tag as u8));
    }
    assert!(d.finish_all().is_empty());
    assert_eq!(image.flushes.load(SeqCst), 1);
    image.failures.lock().unwrap().push(io::ErrorKind::Other);
    assert_eq!(d.finish_all().len(), 1);
}

#[test]
fn a_saved_state_finds_its_drives_whatever_their_numbers() {
    let image = Mock::new(&[]);
    let config = |name: &str| config::Drive {
        name: name.into(),
        removable: false,
        read_error: OnError::Report,
        write_error: OnError::Report,
    };
    let put = |d: &mut Drives, name: &str, device: u32| {
        let id = d.add(config(name));
        d.join(id, DeviceId(device), vec![5], 1);
        d.insert(id, Some(Disk { image: image.clone(), write_cache: true })).unwrap();
        id
    };
    let mut d = drives(true, OnError::Report, &image);
    let gone = put(&mut d, "a", 10);
    put(&mut d, "z", 11);
    put(&mut d, "b", 12);
    d.remove(gone);
    // At the same time, and not in the order of the drives.
    for (tag, device) in [(7, 12), (8, 11)] {
        let what = Request::From(5, Box::new(Request::Disk { unit: 1, tag, op: write(3) }));
        d.ask(0, DeviceId(device), what);
    }
    let saved = d.save();
    let mut other = drives(true, OnError::Report, &image);
    assert!(other.check(&saved).is_err(), "it has one drive");
    put(&mut other, "b", 12);
    put(&mut other, "z", 11);
    other.check(&saved).unwrap();
    other.load(&saved).unwrap();
    assert!(other.save() == saved);
    for wanted in [(7, 12), (8, 11)] {
        let (who, Input::To(5, a)) = other.answer(u64::MAX).unwrap() else { panic!() };
        let Input::Disk { tag, result: Ok(_), .. } = *a else { panic!("{a:?}") };
        assert_eq!((tag, who), (wanted.0, DeviceId(wanted.1)));
    }
}

#[test]
fn what_was_asked_before_the_machine_went_on_does_not_stop_it_again() {
    for timed in [false, true] {
        let image = Mock::new(&[io::ErrorKind::StorageFull]);
        let mut d = drives(timed, OnError::Stop, &image);
        ask(&mut d, 0, 1, write(9));
        // It fails, but nobody knows yet.
        d.go_on(0);
        let first = if timed { d.answer(u64::MAX) } else { Some(wait(&mut d)) };
        assert_eq!(first, Some(answer(1, Ok(vec![]))));
        assert!(d.events.is_empty() && d.all[0].held.is_empty());
        assert_eq!(image.bytes.lock().unwrap()[512], 9);
    }
}
