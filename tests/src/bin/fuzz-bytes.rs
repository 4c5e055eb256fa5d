//! `fuzz-bytes`: random code in random modes, by the interpreter, by tier 0 and in compiled regions.
//!
//! fuzz-bytes [--seed S] [--seconds N] [--only CASE] [--stop FAILURES]

fn main() -> std::process::ExitCode {
    tests::fuzz::run("fuzz-bytes", tests::fuzz::bytes::Bytes::new)
}
