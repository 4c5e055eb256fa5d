//! `reprise`: a full-system emulator with the command line of `qemu-system-x86_64`.

use ui::options::Catalog;

fn main() {
    let catalog = Catalog { cpus: cpu::big::cpuid::Model::help, check_cpu: machine::check_cpu };
    let status = ui::program::run(std::env::args_os().skip(1), &catalog, ui::whole::build);
    std::process::exit(status);
}
