use super::*;
use Width::*;

const LEN: u64 = 4 * SECTOR;
const BACKING: u64 = 0x1000;

fn chip(read_only: bool) -> (Cfi, Bench) {
    let mut b = Bench::default();
    b.backing.0 = vec![0xFF; (BACKING + LEN) as usize];
    let base = 0x1_0000_0000 - LEN;
    let mut d = Cfi::new(Config { base, len: LEN, backing: BACKING, read_only });
    d.settle(&mut b);
    (d, b)
}
fn put(d: &mut Cfi, b: &mut Bench, at: u64, value: u64) {
    d.write(Reg { bank: 0, at }, W8, value, b)
}
fn get(d: &mut Cfi, b: &mut Bench, at: u64) -> u64 {
    d.read(Reg { bank: 0, at }, W8, b)
}
fn written(b: &mut Bench) -> Vec<(u64, u64)> {
    let all = std::mem::take(&mut b.asked).into_iter();
    all.filter_map(|r| match r {
        Request::Disk { tag, op: DiskOp::Write { at, .. }, .. } => Some((tag, at)),
        _ => None,
    })
    .collect()
}

#[test]
fn firmware_tells_flash_from_ram_and_rom() {
    let (mut d, mut b) = chip(false);
    assert_eq!(b.windows[&0].what, Seen::Rom { offset: BACKING });
    put(&mut d, &mut b, 5, 0x50);
    assert_eq!(get(&mut d, &mut b, 5), 0xFF, "not RAM");
    put(&mut d, &mut b, 5, 0x70);
    assert_eq!((get(&mut d, &mut b, 5), b.windows[&0].what), (0, Seen::Registers));
    put(&mut d, &mut b, 5, 0xFF);
    assert_eq!(b.windows[&0].what, Seen::Rom { offset: BACKING });
}

#[test]
fn bytes_are_programmed_and_kept() {
    let (mut d, mut b) = chip(false);
    for (at, value) in [(0x1002, 0x12), (0x1003, 0x34)] {
        put(&mut d, &mut b, at, 0x10);
        put(&mut d, &mut b, at, value);
        assert_eq!(get(&mut d, &mut b, at), 0x80);
    }
    assert!(b.asked.is_empty(), "not before it is over");
    put(&mut d, &mut b, 0x1002, 0xFF);
    assert_eq!((get(&mut d, &mut b, 0x1002), get(&mut d, &mut b, 0x1003)), (0x12, 0x34));
    assert_eq!(written(&mut b), [(1, 0x1000)]);
    // Again while it is on its way: it waits for the answer.
    put(&mut d, &mut b, 0x1004, 0x40);
    put(&mut d, &mut b, 0x1004, 0x56);
    put(&mut d, &mut b, 0x1004, 0xFF);
    assert_eq!((written(&mut b), d.unsaved().len()), (vec![], 1));
    d.input(Input::Disk { unit: 0, tag: 1, result: Ok(vec![].into()) }, &mut b);
    assert_eq!(written(&mut b), [(1, 0x1000)]);
    d.input(Input::Disk { unit: 0, tag: 1, result: Ok(vec![].into()) }, &mut b);
    assert!(d.unsaved().is_empty());
}

#[test]
fn a_block_is_erased() {
    let (mut d, mut b) = chip(false);
    b.backing.0.fill(0x55);
    put(&mut d, &mut b, 0x2345, 0x20);
    put(&mut d, &mut b, 0x2345, 0xD0);
    assert_eq!(get(&mut d, &mut b, 0), 0x80);
    put(&mut d, &mut b, 0, 0);
    let all = [0x1FFF, 0x2000, 0x2FFF, 0x3000].map(|at| get(&mut d, &mut b, at));
    assert_eq!((all, written(&mut b)), ([0x55, 0xFF, 0xFF, 0x55], vec![(2, 0x2000)]));
}

#[test]
fn a_buffer_is_written_when_confirmed() {
    let (mut d, mut b) = chip(false);
    for (at, value) in [(0x10, 0xE8), (0x10, 2), (0x10, 1), (0x11, 2), (0x12, 3)] {
        put(&mut d, &mut b, at, value);
    }
    assert_eq!(b.backing.0[BACKING as usize + 0x10], 0xFF);
    put(&mut d, &mut b, 0x10, 0xD0);
    assert_eq!(b.backing.0[BACKING as usize + 0x10..][..4], [1, 2, 3, 0xFF]);
    // Given up instead.
    for (at, value) in [(0x20, 0xE8), (0x20, 0), (0x20, 1), (0x20, 0xFF)] {
        put(&mut d, &mut b, at, value);
    }
    assert_eq!(get(&mut d, &mut b, 0x20), 0xFF);
}

#[test]
fn a_read_only_chip_says_so() {
    let (mut d, mut b) = chip(true);
    for (at, value) in [(0, 0x10), (0, 0), (0, 0x20), (0, 0xD0)] {
        put(&mut d, &mut b, at, value);
    }
    assert_eq!(get(&mut d, &mut b, 0), 0xB0);
    put(&mut d, &mut b, 0, 0xFF);
    assert_eq!((get(&mut d, &mut b, 0), b.asked.len()), (0xFF, 0));
}

#[test]
fn the_query_table_names_the_command_set_and_size() {
    let (mut d, mut b) = chip(false);
    put(&mut d, &mut b, 0x55, 0x98);
    let text: Vec<u64> = (0x10..0x15).map(|at| get(&mut d, &mut b, at)).collect();
    assert_eq!(text, [b'Q', b'R', b'Y', 1, 0].map(u64::from));
    assert_eq!([0x27, 0x2C, 0x2D, 0x30].map(|at| get(&mut d, &mut b, at)), [14, 1, 3, 0]);
    put(&mut d, &mut b, 0, 0x70);
    assert_eq!(get(&mut d, &mut b, 0x10), u64::from(b'Q'), "only one command ends it");
    put(&mut d, &mut b, 0, 0xFF);
    put(&mut d, &mut b, 0, 0x90);
    assert_eq!(get(&mut d, &mut b, 0), 0);
}

#[test]
fn a_loaded_chip_gives_its_drive_everything() {
    let (mut d, mut b) = chip(false);
    put(&mut d, &mut b, 0x10, 0xE8);
    let saved = d.save();
    let (mut e, _) = chip(false);
    e.load(&saved).unwrap();
    assert_eq!(e.save(), saved);
    let medium =
        Medium { len: LEN, read_only: false, block: 512, physical: 512, write_cache: false };
    e.input(Input::Medium { unit: 0, medium: Some(medium) }, &mut b);
    assert_eq!(written(&mut b).len(), 4);
    let far = State { unsaved: vec![4], ..State::default() };
    assert!(e.load(&far.save()).is_err());
}
