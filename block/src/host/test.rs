use super::*;

fn image(dir: &tempfile::TempDir, len: usize) -> std::path::PathBuf {
    let path = dir.path().join("image");
    let bytes: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}
fn access(cache: &str) -> Access {
    Access { write: true, cache: Cache::named(cache).unwrap(), ..Access::default() }
}

/// Direct access is not everywhere: a temporary directory in memory may lack it.
fn caches(path: &Path) -> Vec<&'static str> {
    Cache::names().filter(|c| HostFile::open(path, access(c)).is_ok()).collect()
}

#[test]
fn any_place_and_length_reads_and_writes_in_all_cache_modes() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(&dir, 40_000);
    let modes = caches(&path);
    assert!(modes.len() >= 3, "{modes:?}");
    for cache in modes {
        let path = image(&dir, 40_000);
        let mut model = std::fs::read(&path).unwrap();
        let f = HostFile::open(&path, access(cache)).unwrap();
        let mut seed = 7u64;
        for n in 0..200 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (seed >> 33) as usize % 39_000;
            let len = (seed >> 20) as usize % 1000;
            if n % 2 == 0 {
                let data = vec![n as u8; len];
                f.write(at as u64, &data).unwrap();
                model[at..at + len].copy_from_slice(&data);
            } else {
                let mut got = vec![1; len];
                f.read(at as u64, &mut got).unwrap();
                assert!(got == model[at..at + len], "{cache} at {at} for {len}");
            }
        }
        f.flush().unwrap();
        drop(f);
        let after = std::fs::read(&path).unwrap();
        assert!(after[..40_000] == model, "{cache}");
    }
}

#[test]
fn zeroes_and_holes_read_as_zero_and_the_end_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = image(&dir, 1 << 20);
    let f = HostFile::open(&path, access("writeback")).unwrap();
    f.zero(4096, 8192, true).unwrap();
    f.zero(100_000, 5000, false).unwrap();
    f.discard(200_000, 100_000).unwrap();
    let mut b = vec![1; 8192];
    f.read(4096, &mut b).unwrap();
    assert!(b.iter().all(|&x| x == 0));
    f.read(100_000, &mut b[..5000]).unwrap();
    assert!(b[..5000].iter().all(|&x| x == 0));
    assert!(f.read((1 << 20) - 10, &mut b[..11]).is_err());
    assert!(f.write(u64::MAX, &[1]).is_err());
    assert!(f.zero(1 << 20, 1, true).is_err());
    f.resize(2 << 20).unwrap();
    f.write((2 << 20) - 1, &[9]).unwrap();
    assert_eq!(f.info().len, 2 << 20);
}

#[test]
fn what_cannot_be_opened_is_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let says = |path: &Path, how: Access| match HostFile::open(path, how) {
        Ok(_) => panic!("opened"),
        Err(e) => e.to_string(),
    };
    assert!(says(&dir.path().join("nowhere"), Access::default()).contains("nowhere"));
    assert!(says(dir.path(), Access::default()).contains("directory"));
    let path = image(&dir, 4096);
    let _first = HostFile::open(&path, access("writeback")).unwrap();
    assert!(says(&path, access("writeback")).contains("in use"));
    let none = Access { no_lock: true, ..access("writeback") };
    assert!(HostFile::open(&path, none).is_ok());
}

#[test]
fn only_what_is_aligned_goes_to_the_host_as_it_is() {
    for len in [1, 512, 4096, 70_001] {
        let b = Buffer::zeroed(len);
        assert!(fits(8192, &b[..len & !511], 512, 4096));
    }
    let b = Buffer::zeroed(1024);
    assert!(!fits(100, &b, 512, 512));
    assert!(!fits(0, &b[1..513], 512, 512));
    assert!(!fits(0, &b[..100], 512, 1));
}
