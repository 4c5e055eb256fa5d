//! `fuzz-ports`: random accesses to all devices of whole machines.
//!
//! fuzz-ports [--seed S] [--seconds N] [--only CASE] [--stop FAILURES]

fn main() -> std::process::ExitCode {
    tests::fuzz::run("fuzz-ports", tests::fuzz::ports::Ports::new)
}
