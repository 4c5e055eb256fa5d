use super::*;
use crate::*;
use std::path::Path;
use std::process::Command;

fn qemu_img(dir: &Path, args: &str) {
    let out = Command::new("qemu-img").current_dir(dir).args(args.split(' ')).output();
    let out = out.expect("these tests need qemu-img (package qemu-utils)");
    assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
}
fn disk(path: &Path) -> NodeSpec {
    NodeSpec::disk(path, None).unwrap()
}
fn refused(spec: &NodeSpec) -> String {
    match Graph::new().open(spec) {
        Ok(_) => panic!("opened"),
        Err(e) => e.to_string(),
    }
}
fn byte(image: &dyn Image, at: u64) -> u8 {
    let mut b = [0xEE; 512];
    image.read(at & !511, &mut b).unwrap();
    b[at as usize % 512]
}

#[test]
fn formats_are_found_and_a_guess_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    qemu_img(d, "create -q -f qcow2 x.qcow2 1M");
    std::fs::write(d.join("x.raw"), [0; 4096]).unwrap();
    std::fs::write(d.join("x.vmdk"), b"KDMV                ").unwrap();
    let mut g = Graph::new();
    let q = g.open(&disk(&d.join("x.qcow2"))).unwrap();
    assert_eq!((q.kind.name(), q.info().len, g.take_warnings().len()), ("qcow2", 1 << 20, 0));
    let r = g.open(&disk(&d.join("x.raw"))).unwrap();
    assert!(r.kind.name() == "raw" && g.take_warnings()[0].contains("x.raw"));
    let e = r.write(0, b"QFI\xfb").unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(refused(&disk(&d.join("x.vmdk"))).contains("vmdk"));
    drop(r);
    let named = NodeSpec::disk(d.join("x.raw"), Some("raw")).unwrap();
    let r = g.open(&named).unwrap();
    assert!(r.write(0, b"QFI\xfb").is_ok() && g.take_warnings().is_empty());
    assert!(NodeSpec::disk("x", Some("vmdk")).is_none());
}

#[test]
fn a_node_behind_two_devices_is_one_disk() {
    let dir = tempfile::tempdir().unwrap();
    qemu_img(dir.path(), "create -q -f qcow2 x.qcow2 1M");
    let mut g = Graph::new();
    let node = g.open(&disk(&dir.path().join("x.qcow2")).named("shared")).unwrap();
    let (a, b) = (g.attach(node.clone(), true), g.attach(g.get("shared").unwrap(), false));
    a.write(4096, &[7; 512]).unwrap();
    assert_eq!(byte(&*b, 4100), 7);
    assert!(g.open(&disk(&dir.path().join("x.qcow2")).named("shared")).is_err());
    assert!(g.remove("shared").unwrap_err().to_string().contains("in use"));
    drop((a, b, node));
    g.remove("shared").unwrap();
    assert!(g.get("shared").is_none() && g.nodes().count() == 0);
    qemu_img(dir.path(), "check -q x.qcow2");
}

#[test]
fn descriptions_with_names_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    qemu_img(d, "create -q -f raw base 1M");
    qemu_img(d, "create -q -f qcow2 over 1M");
    let mut g = Graph::new();
    let file = |name: &str| Driver::File { path: d.join(name), locking: true };
    let base = NodeSpec::from(Driver::Raw { file: file("base").into(), offset: 0, size: None });
    g.open(&base.read_only().named("base")).unwrap();
    g.open(&NodeSpec::from(file("over")).named("over-file")).unwrap();
    let rules = vec![Rule::new(Some(Io::Write), 28)];
    let fails = Driver::Blkdebug { file: Child::Name("over-file".into()), rules };
    g.open(&NodeSpec::from(fails).named("fails")).unwrap();
    let qcow2 =
        Qcow2Spec { backing: Backing::Child(Child::Name("base".into())), ..Default::default() };
    let over = Driver::Qcow2 { file: Child::Name("fails".into()), qcow2 };
    let over = g.open(&NodeSpec::from(over).named("over")).unwrap();
    let e = over.write(0, &[1; 512]).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::StorageFull);
    let Kind::Blkdebug(f) = g.get("fails").unwrap().kind.clone() else { panic!() };
    f.set(Vec::new());
    over.write(0, &[1; 512]).unwrap();
    let info = over.describe();
    assert_eq!((info.backing_depth, info.filename), (1, d.join("over").display().to_string()));
    assert_eq!(info.qcow2.unwrap().cluster_size, 65536);
    assert!(g.get("base").unwrap().write(0, &[1; 512]).is_err());
    let lost = Driver::Qcow2 { file: Child::Name("nobody".into()), qcow2: Qcow2Spec::default() };
    assert!(refused(&lost.into()).contains("nobody"));
    assert!(refused(&disk(&d.join("base")).named("1x")).contains("letter"));
}

#[test]
fn chains_are_followed_within_their_folder_and_never_in_a_circle() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::create_dir(d.join("vm")).unwrap();
    std::fs::write(d.join("secret"), [9; 512]).unwrap();
    let vm = d.join("vm");
    std::fs::write(vm.join("base"), [5; 4096]).unwrap();
    qemu_img(&vm, "create -q -f qcow2 -b base -F raw one 8K");
    qemu_img(&vm, "create -q -f qcow2 -b one -F qcow2 two");
    qemu_img(&vm, "create -q -f qcow2 -b ../secret -F raw bad");
    qemu_img(&vm, "create -q -f qcow2 -u -b nbd://x/y -F raw net 1M");
    qemu_img(&vm, "create -q -f qcow2 -u -b two -F qcow2 self 8K");
    qemu_img(&vm, "rebase -u -f qcow2 -b self -F qcow2 self");
    qemu_img(&vm, "create -q -f qcow2 -u -b b -F qcow2 a 8K");
    qemu_img(&vm, "create -q -f qcow2 -u -b a -F qcow2 b 8K");
    qemu_img(&vm, "create -q -f qcow2 -u -b base -F vmdk kind 8K");
    let mut g = Graph::new();
    let two = g.open(&disk(&vm.join("two"))).unwrap();
    assert!(byte(&*two, 0) == 5 && byte(&*two, 5000) == 0);
    let info = two.describe();
    assert_eq!(
        (info.backing_depth, info.backing_filename),
        (2, Some(vm.join("one").display().to_string()))
    );
    for (file, word) in [
        ("bad", "backing-outside=on"),
        ("net", "'nbd'"),
        ("self", "stands on itself"),
        ("a", "stands on itself"),
        ("kind", "'vmdk'"),
    ] {
        assert!(refused(&disk(&vm.join(file))).contains(word), "{file}");
    }
    let file = Child::from(Driver::File { path: vm.join("bad"), locking: true });
    let qcow2 = Qcow2Spec { backing_outside: true, ..Default::default() };
    let bad = g.open(&Driver::Qcow2 { file: file.clone(), qcow2 }.into()).unwrap();
    assert_eq!(byte(&*bad, 0), 9);
    drop(bad);
    let qcow2 = Qcow2Spec { backing: Backing::None, ..Default::default() };
    let alone = g.open(&Driver::Qcow2 { file, qcow2 }.into()).unwrap();
    assert_eq!(byte(&*alone, 0), 0);
}

#[test]
fn a_temporary_overlay_takes_what_is_written_along() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, [5; 8192]).unwrap();
    let mut g = Graph::new();
    let base = Child::Spec(Box::new(NodeSpec::disk(&path, Some("raw")).unwrap()));
    let node = g.open(&Driver::Temporary { base }.into()).unwrap();
    node.write(512, &[6; 512]).unwrap();
    node.flush().unwrap();
    assert!(byte(&*node, 0) == 5 && byte(&*node, 600) == 6 && !node.is_read_only());
    drop(node);
    assert!(std::fs::read(&path).unwrap() == [5; 8192]);
}

#[test]
fn a_running_disk_goes_on_in_an_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    qemu_img(d, "create -q -f qcow2 one.qcow2 1M");
    let mut g = Graph::new();
    let one = g.open(&disk(&d.join("one.qcow2"))).unwrap();
    let device = g.attach(one.clone(), true);
    device.write(0, &[1; 1024]).unwrap();
    let what = |file: &str, existing| SnapshotSync { file: d.join(file), name: None, existing };
    let two = g.snapshot(&one, &what("two.qcow2", false)).unwrap();
    device.write(512, &[2; 512]).unwrap();
    assert!(byte(&*device, 0) == 1 && byte(&*device, 512) == 2 && byte(&*one, 512) == 1);
    assert!(one.write(0, &[3; 512]).is_err());
    assert!(g.snapshot(&two, &what("two.qcow2", false)).is_err());
    qemu_img(d, "create -q -f qcow2 three.qcow2 1M");
    g.snapshot(&two, &what("three.qcow2", true)).unwrap();
    device.write(0, &[3; 512]).unwrap();
    assert!(byte(&*device, 512) == 2 && byte(&*two, 0) == 1);
    assert_eq!(device.node().describe().backing_depth, 2);
    qemu_img(d, "create -q -f qcow2 short.qcow2 64K");
    assert!(g.snapshot(&device.node(), &what("short.qcow2", true)).is_err());
    drop((device, one, two));
    assert_eq!(g.nodes().count(), 0);
    for file in ["one", "two", "three"] {
        qemu_img(d, &format!("check -q {file}.qcow2"));
    }
    let again = g.open(&disk(&d.join("two.qcow2"))).unwrap();
    assert!(byte(&*again, 0) == 1 && byte(&*again, 512) == 2);
}

#[test]
fn zeroes_are_found_and_discards_are_a_wish() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let used =
        |path: &Path| std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap());
    for (discard, detect, gone) in [
        (false, DetectZeroes::Off, false),
        (true, DetectZeroes::On, false),
        (false, DetectZeroes::Unmap, false),
        (true, DetectZeroes::Unmap, true),
    ] {
        std::fs::write(&path, vec![5; 1 << 20]).unwrap();
        let mut spec = NodeSpec::disk(&path, Some("raw")).unwrap();
        (spec.discard, spec.detect_zeroes) = (Some(discard), detect);
        let mut g = Graph::new();
        let node = g.open(&spec).unwrap();
        node.write(0, &vec![0; 1 << 19]).unwrap();
        assert!(
            byte(&*node, 0) == 0 && byte(&*node, (1 << 19) - 1) == 0 && byte(&*node, 1 << 19) == 5
        );
        node.discard(1 << 19, 1 << 19).unwrap();
        assert_eq!(byte(&*node, 1 << 19), if discard { 0 } else { 5 });
        assert_eq!(node.info().discard, discard);
        drop(node);
        assert_eq!(used(&path) < 16, gone, "{discard} {detect:?}");
    }
}

#[test]
fn what_is_read_only_is() {
    let dir = tempfile::tempdir().unwrap();
    qemu_img(dir.path(), "create -q -f qcow2 x.qcow2 1M");
    let before = std::fs::read(dir.path().join("x.qcow2")).unwrap();
    let mut g = Graph::new();
    let node = g.open(&disk(&dir.path().join("x.qcow2")).read_only()).unwrap();
    assert!(node.info().read_only && node.write(0, &[1; 512]).is_err() && node.flush().is_ok());
    assert!(node.zero(0, 512, true).is_err() && node.resize(2 << 20).is_err());
    drop(node);
    assert!(std::fs::read(dir.path().join("x.qcow2")).unwrap() == before);
    let mut force = disk(&dir.path().join("x.qcow2"));
    force.force_share = Some(true);
    assert!(refused(&force).contains("force-share"));
}

#[test]
fn a_disk_goes_on_in_overlays_while_it_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("0"), vec![0; 1 << 20]).unwrap();
    let mut g = Graph::new();
    let mut node = g.open(&NodeSpec::disk(d.join("0"), Some("raw")).unwrap()).unwrap();
    let device = g.attach(node.clone(), true);
    let mut q = Queue::new(device.clone(), 4, Arc::new(|| {})).unwrap();
    let block = |n: u64| (n * 37 % 256) * 4096;
    for n in 0..2000u64 {
        q.submit(
            n,
            Op::Write {
                at: block(n),
                data: vec![(n >> 8) as u8 + 1; 4096].into(),
                fua: n % 100 == 0,
            },
        );
        if n % 256 == 255 {
            // The blocks of one round are all different; the next round waits for them.
            while let Some(done) = q.wait() {
                done.result.unwrap();
            }
        } else if n % 300 == 150 {
            let file = d.join(n.to_string());
            node = g.snapshot(&node, &SnapshotSync { file, name: None, existing: false }).unwrap();
        }
    }
    while let Some(done) = q.wait() {
        done.result.unwrap();
    }
    assert_eq!(device.node().describe().backing_depth, 7);
    let newest = |b: u64| (0..2000u64).rfind(|&n| block(n) == b * 4096).map(|n| (n >> 8) as u8 + 1);
    (0..256).for_each(|b| assert_eq!(Some(byte(&*device, b * 4096)), newest(b), "block {b}"));
}

#[test]
fn limits_of_a_group_and_of_a_device_can_be_changed() {
    let mut g = Graph::new();
    let null = || Child::from(Driver::Null { size: 1 << 20, zeroes: true });
    let mut limits = throttle::Limits::default();
    limits.operations[0].rate = 1;
    let group = || Some("g".to_owned());
    let a = g.open(&Driver::Throttle { file: null(), group: group(), limits }.into()).unwrap();
    let b = Driver::Throttle { file: null(), group: group(), limits: Default::default() };
    let b = g.open(&b.into()).unwrap();
    assert!(b.throttle().unwrap().limiter.limits() == limits && a.throttle().is_some());
    assert!(b.try_read(0, &mut [0; 512]).is_none());
    let node = g.open(&Driver::Null { size: 1 << 20, zeroes: true }.into()).unwrap();
    let device = g.attach(node, true);
    assert!(device.try_read(0, &mut [0; 512]).is_some());
    device.limiter.set(limits);
    assert!(device.try_read(0, &mut [0; 512]).is_none());
    g.unthrottle();
    assert!(b.try_read(0, &mut [0; 512]).is_some() && device.try_read(0, &mut [0; 512]).is_some());
    limits.bytes[0].max = 1;
    assert!(g.open(&Driver::Throttle { file: null(), group: None, limits }.into()).is_err());
}
