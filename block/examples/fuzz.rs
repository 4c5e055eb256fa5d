//! `cargo run --profile fuzz -p block --example fuzz [COUNT [SEED]]`: changed images, see `block::fuzz`. Seeds share no case.

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |n: usize, or| words.get(n).map_or(or, |w: &String| w.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a folder");
    let (count, seed): (u64, u64) = (number(1, 20_000), number(2, 1));
    let report = block::fuzz::run(seed.wrapping_sub(1).wrapping_mul(count) + 1, count, dir.path());
    println!("fuzz: {report:?}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("?").trim();
    println!("fuzz: most memory {peak}");
    let bytes = peak.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    if report.is_err() || bytes.is_none_or(|kb| kb > 256 << 10) {
        println!("fuzz: FAILED");
        std::process::exit(1);
    }
}
