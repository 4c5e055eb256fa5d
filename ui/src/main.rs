//! `reprise`: a full-system emulator with the command line of `qemu-system-x86_64`.

use machine::config::Config;
use ui::guest::Guest;
use ui::options::Catalog;

fn main() {
    let catalog = Catalog { cpus: || "Available CPUs:\n  max\n".to_string() };
    let status = ui::program::run(std::env::args_os().skip(1), &catalog, build);
    std::process::exit(status);
}

fn build(_: &Config) -> Result<Box<dyn Guest>, String> {
    Err("the machine's run loop is not joined to this front end yet".into())
}
