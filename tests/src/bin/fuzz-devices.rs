//! `fuzz-devices`: drivers gone mad, for disks and all else that is put on PCI buses.
//!
//! fuzz-devices [--seed S] [--seconds N] [--only CASE] [--stop FAILURES]

fn main() -> std::process::ExitCode {
    tests::fuzz::run("fuzz-devices", tests::fuzz::devices::Devices::new)
}
