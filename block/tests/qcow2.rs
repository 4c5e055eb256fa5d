//! qcow2 images against qemu-img: whatever is done at random, both read the same, and the checker finds nothing.

mod common;

use block::Image;
use common::*;

const MB: u64 = 1 << 20;

/// An image that qemu-img makes, and what is done to it.
struct Row {
    options: &'static str,
    size: u64,
    steps: u32,
    cache: &'static str,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { options: "",                                           size: 40 * MB, steps: 1500, cache: "writeback" },
    Row { options: "",                                           size: 9 * MB + 512, steps: 600, cache: "none" },
    Row { options: "compat=0.10",                                size: 20 * MB, steps: 1000, cache: "writeback" },
    Row { options: "cluster_size=512",                           size: 12 * MB + 1536, steps: 800, cache: "writeback" },
    Row { options: "cluster_size=512,refcount_bits=64",          size: 6 * MB, steps: 600, cache: "writeback" },
    Row { options: "cluster_size=512,compat=0.10",               size: 12 * MB, steps: 800, cache: "writeback" },
    Row { options: "cluster_size=1024,refcount_bits=1",          size: 20 * MB, steps: 800, cache: "writeback" },
    Row { options: "cluster_size=4096,refcount_bits=2",          size: 20 * MB, steps: 800, cache: "none" },
    Row { options: "cluster_size=4096,refcount_bits=4",          size: 20 * MB, steps: 800, cache: "writeback" },
    Row { options: "cluster_size=8192,refcount_bits=8",          size: 20 * MB, steps: 800, cache: "writeback" },
    Row { options: "cluster_size=32768,refcount_bits=32",        size: 20 * MB, steps: 800, cache: "writeback" },
    Row { options: "cluster_size=2097152",                       size: 20 * MB, steps: 300, cache: "writeback" },
    Row { options: "cluster_size=2097152,refcount_bits=64",      size: 11 * MB, steps: 200, cache: "unsafe" },
    Row { options: "lazy_refcounts=on",                          size: 20 * MB, steps: 500, cache: "writeback" },
    Row { options: "preallocation=metadata",                     size: 20 * MB, steps: 500, cache: "writeback" },
    Row { options: "preallocation=falloc,cluster_size=16384",    size: 10 * MB, steps: 500, cache: "writeback" },
];

fn create(path: &std::path::Path, options: &str, size: u64) {
    let size = size.to_string();
    let mut args = vec!["create", "-q", "-f", "qcow2"];
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    args.extend([name(path), &size]);
    qemu_img(&args);
}

#[test]
fn any_operations_leave_what_a_plain_row_of_bytes_has() {
    for (n, row) in ROWS.iter().enumerate() {
        println!("{}, {}", row.options, row.cache);
        let dir = dir();
        let file = path(&dir, "x.qcow2");
        create(&file, row.options, row.size);
        let mut model = vec![0; row.size as usize];
        let mut rng = Rng(n as u64);
        for _ in 0..2 {
            let image = open(&file, None, row.cache);
            (0..row.steps / 2).for_each(|_| step(&image, &mut model, &mut rng));
            assert!(read_all(&image) == model);
            drop(image);
            check(&file);
            assert!(contents(&file) == model, "qemu-img reads something else");
        }
    }
}

#[test]
fn overlays_leave_their_backing_files_alone() {
    #[rustfmt::skip]
    let rows = [
        ("base.raw",   "",                             5 * MB + 1536, 20 * MB),
        ("base.qcow2", "cluster_size=4096",            20 * MB,       20 * MB),
        ("base.qcow2", "",                             7 * MB,        16 * MB + 512),
        ("base.qcow2", "compat=0.10",                  20 * MB,       12 * MB),
        ("base.raw",   "compat=0.10",                  5 * MB,        12 * MB),
        ("base.qcow2", "cluster_size=512",             6 * MB,        8 * MB),
        ("base.qcow2", "cluster_size=1048576",         20 * MB + 512, 20 * MB),
    ];
    for (n, (base, options, base_size, size)) in rows.into_iter().enumerate() {
        println!("{base} {options}");
        let dir = dir();
        let (below, file) = (path(&dir, base), path(&dir, "over.qcow2"));
        let mut rng = Rng(100 + n as u64);
        let mut bytes = rng.bytes(base_size as usize);
        bytes[MB as usize..3 * MB as usize].fill(0);
        let raw = path(&dir, "base.raw");
        std::fs::write(&raw, &bytes).unwrap();
        let format = below.extension().unwrap().to_str().unwrap();
        if format == "qcow2" {
            qemu_img(&["convert", "-O", "qcow2", "-c", name(&raw), name(&below)]);
        }
        let options = format!(
            "{options}{}backing_file={base},backing_fmt={format}",
            if options.is_empty() { "" } else { "," }
        );
        create(&file, &options, size);
        let mut model = vec![0; size as usize];
        let common = size.min(base_size) as usize;
        model[..common].copy_from_slice(&bytes[..common]);
        let before = std::fs::read(&below).unwrap();
        for _ in 0..2 {
            let image = open(&file, backing(&[&below]), "writeback");
            assert!(read_all(&image) == model);
            (0..400).for_each(|_| step(&image, &mut model, &mut rng));
            assert!(read_all(&image) == model);
            drop(image);
            check(&file);
            assert!(contents(&file) == model, "qemu-img reads something else");
        }
        assert!(std::fs::read(&below).unwrap() == before);
    }
}

#[test]
fn compressed_clusters_are_read_and_written_over() {
    for (n, options) in [
        "compression_type=zlib",
        "compression_type=zstd",
        "cluster_size=4096",
        "compression_type=zstd,cluster_size=2097152",
        "cluster_size=512,refcount_bits=64",
    ]
    .into_iter()
    .enumerate()
    {
        println!("{options}");
        let dir = dir();
        let (raw, file) = (path(&dir, "x.raw"), path(&dir, "x.qcow2"));
        let mut rng = Rng(200 + n as u64);
        // Some of it can be compressed, some cannot.
        let mut model: Vec<u8> = (0..8 * MB).map(|n| (n >> 12) as u8).collect();
        (0..2 * MB as usize).for_each(|n| model[n] = rng.next() as u8);
        std::fs::write(&raw, &model).unwrap();
        qemu_img(&["convert", "-c", "-O", "qcow2", "-o", options, name(&raw), name(&file)]);
        let image = open(&file, None, "writeback");
        assert!(read_all(&image) == model);
        (0..500).for_each(|_| step(&image, &mut model, &mut rng));
        assert!(read_all(&image) == model);
        drop(image);
        check(&file);
        assert!(contents(&file) == model);
    }
}

#[test]
fn snapshots_inside_an_image_stay_as_they_were() {
    for (n, options) in [
        "",
        "compat=0.10",
        "cluster_size=512",
        "cluster_size=65536,refcount_bits=2",
        "cluster_size=1048576",
    ]
    .into_iter()
    .enumerate()
    {
        println!("{options}");
        let dir = dir();
        let file = path(&dir, "x.qcow2");
        let size = 10 * MB;
        create(&file, options, size);
        let mut rng = Rng(300 + n as u64);
        let mut model = vec![0; size as usize];
        let mut kept = Vec::new();
        for snapshot in ["one", "two", "three"] {
            let image = open(&file, None, "writeback");
            assert_eq!(image.snapshots().len(), kept.len());
            (0..200).for_each(|_| step(&image, &mut model, &mut rng));
            drop(image);
            check(&file);
            if snapshot == "three" {
                qemu_img(&["snapshot", "-d", "one", name(&file)]);
                check(&file);
                kept.remove(0);
            } else {
                qemu_img(&["snapshot", "-c", snapshot, name(&file)]);
                kept.push((snapshot, model.clone()));
            }
        }
        let image = open(&file, None, "writeback");
        assert_eq!(image.snapshots()[0].name, "two");
        (0..100).for_each(|_| step(&image, &mut model, &mut rng));
        drop(image);
        check(&file);
        assert!(contents(&file) == model);
        for (snapshot, bytes) in kept {
            qemu_img(&["snapshot", "-a", snapshot, name(&file)]);
            assert!(contents(&file) == bytes, "snapshot {snapshot}");
            check(&file);
        }
    }
}

#[test]
fn our_images_are_good_and_grow() {
    use block::qcow2::{Create, create};
    for (bits, order, version, size) in [
        (16, 4, 3, 10 * MB),
        (9, 6, 3, 2 * MB),
        (9, 0, 3, 64 * MB),
        (21, 4, 2, 30 * MB),
        (12, 4, 3, 0),
    ] {
        println!("{bits} {order} {version}");
        let dir = dir();
        let file = path(&dir, "x.qcow2");
        std::fs::write(&file, []).unwrap();
        let what =
            Create { cluster_bits: bits, refcount_order: order, version, ..Create::new(size) };
        create(&*host(&file, true, "writeback"), &what).unwrap();
        check(&file);
        let mut model = vec![0; size as usize];
        let mut rng = Rng(bits as u64);
        for more in [0, 512, 700 * 512, 3 * MB] {
            let image = open(&file, None, "writeback");
            let to = model.len() as u64 + more;
            image.resize(to).unwrap();
            model.resize(to as usize, 0);
            assert!(image.resize(to.saturating_sub(512)).is_err() || to == 0);
            if to > 0 {
                (0..60).for_each(|_| step(&image, &mut model, &mut rng));
            }
            drop(image);
            check(&file);
            assert!(contents(&file) == model);
        }
    }
}

#[test]
fn what_grows_does_not_show_its_backing_file() {
    let dir = dir();
    let (raw, file) = (path(&dir, "x.raw"), path(&dir, "x.qcow2"));
    let mut rng = Rng(5);
    let bytes = rng.bytes(4 * MB as usize);
    std::fs::write(&raw, &bytes).unwrap();
    create(&file, "backing_file=x.raw,backing_fmt=raw", MB + 512);
    let image = open(&file, backing(&[&raw]), "writeback");
    image.resize(6 * MB).unwrap();
    let mut model = bytes[..MB as usize + 512].to_vec();
    model.resize(6 * MB as usize, 0);
    assert!(read_all(&image) == model);
    drop(image);
    check(&file);
    assert!(contents(&file) == model);
}

#[test]
fn small_caches_do_as_well_as_large_ones() {
    let dir = dir();
    let file = path(&dir, "x.qcow2");
    create(&file, "cluster_size=512", 8 * MB);
    let mut model = vec![0; 8 * MB as usize];
    let mut rng = Rng(77);
    let options = block::qcow2::Options { l2_cache: 1, refcount_cache: 1, ..Default::default() };
    let image = block::Qcow2::open(host(&file, true, "unsafe"), None, options).unwrap();
    (0..800).for_each(|_| step(&image, &mut model, &mut rng));
    assert!(read_all(&image) == model);
    drop(image);
    check(&file);
    assert!(contents(&file) == model);
}

/// What opening an image for writing, and then for reading alone, says.
fn refusals(file: &std::path::Path) -> [Option<String>; 2] {
    [false, true].map(|read_only| {
        let before = std::fs::read(file).unwrap();
        let options = block::qcow2::Options { read_only, ..Default::default() };
        let said = block::Qcow2::open(host(file, true, "writeback"), None, options).err();
        assert!(std::fs::read(file).unwrap() == before, "it was written to");
        said
    })
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_never_written() {
    let dir = dir();
    let file = path(&dir, "x.qcow2");
    let secret = ["--object", "secret,id=s,data=abc"];
    let luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    let aes = "encrypt.format=aes,encrypt.key-secret=s";
    for (options, word) in [
        (luks, "encrypted (LUKS)"),
        (aes, "encrypted (AES)"),
        (&format!("data_file={}", name(&path(&dir, "data"))), "external file"),
        ("extended_l2=on", "extended L2"),
    ] {
        let mut args = vec!["create", "-q", "-f", "qcow2"];
        if options.starts_with("encrypt") {
            args.extend(secret);
        }
        args.extend(["-o", options, name(&file), "1M"]);
        qemu_img(&args);
        for said in refusals(&file) {
            assert!(said.as_ref().is_some_and(|s| s.contains(word)), "{options}: {said:?}");
        }
    }
    // Bits of the incompatible features: dirty, corrupt, unknown; and what may still be read.
    for (bit, word, read) in
        [(0, "lazy_refcounts", true), (1, "corrupt", true), (9, "bit 9", false)]
    {
        create(&file, "", MB);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[79 - bit / 8] |= 1 << (bit % 8);
        std::fs::write(&file, bytes).unwrap();
        let [write, only] = refusals(&file);
        assert!(write.as_ref().is_some_and(|s| s.contains(word)), "{bit}: {write:?}");
        assert_eq!(only.is_none(), read, "{only:?}");
    }
}

#[test]
fn bitmaps_are_out_of_date_once_we_write() {
    let dir = dir();
    let file = path(&dir, "x.qcow2");
    create(&file, "", MB);
    qemu_img(&["bitmap", "--add", name(&file), "b"]);
    let autoclear = |f: &std::path::Path| std::fs::read(f).unwrap()[88..96].to_vec();
    assert_ne!(autoclear(&file), [0; 8]);
    let image = open(&file, None, "writeback");
    image.read(0, &mut [0; 512]).unwrap();
    image.flush().unwrap();
    assert_ne!(autoclear(&file), [0; 8]);
    image.write(0, &[1; 512]).unwrap();
    assert_eq!(autoclear(&file), [0; 8]);
    drop(image);
    check_but_leaks(&file);
}

#[test]
fn nonsense_in_the_tables_ends_writing_and_is_noted() {
    let dir = dir();
    let file = path(&dir, "x.qcow2");
    create(&file, "preallocation=metadata", MB);
    let mut bytes = std::fs::read(&file).unwrap();
    let word = |b: &[u8], at: usize| u64::from_be_bytes(b[at..at + 8].try_into().unwrap());
    let l2 = (word(&bytes, word(&bytes, 40) as usize) & 0x00FF_FFFF_FFFF_FE00) as usize;
    bytes[l2 + 6] |= 2;
    std::fs::write(&file, bytes).unwrap();
    let image = open(&file, None, "writeback");
    assert!(image.read(0, &mut [0; 512]).is_err() && image.read(65536, &mut [0; 512]).is_ok());
    let e = image.write(0, &[1; 512]).unwrap_err();
    assert!(e.to_string().contains("corrupt"), "{e}");
    assert!(image.is_corrupt() && image.write(65536, &[1; 512]).is_err());
    drop(image);
    assert_eq!(std::fs::read(&file).unwrap()[79], 2);
    assert!(refusals(&file)[1].is_none());
}
