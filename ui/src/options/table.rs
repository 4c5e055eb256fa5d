//! The options, a row each: the names, what follows, what it does.
//!
//! Those of QEMU that we do not have stand here, too, with the reason: the message names what is missing.

use super::finish::Gathered;
use super::words::split;
use super::{
    OnPanic, OnReboot, OnShutdown, Said, Stop, clock, device, disk, machine, outside, profile,
};
use ::machine::config::{ITEMS, Item};

type Done = Result<(), Stop>;

/// An option.
pub struct Row {
    /// Its names, without the dash.
    pub names: &'static [&'static str],
    /// What follows it; empty: nothing.
    pub arg: &'static str,
    pub help: &'static str,
    pub take: fn(&mut Gathered, &mut Said) -> Done,
}

macro_rules! rows {
    ($($($name:literal)|+ $arg:literal $help:literal $take:expr;)*) => {
        &[$(Row { names: &[$($name),+], arg: $arg, help: $help, take: $take }),*]
    };
}

#[rustfmt::skip]
const ROWS: &[Row] = rows! {
    "h" | "help"            ""      "show this and leave" help;
    "version"               ""      "show the version and leave" version;
    "M" | "machine"         "[type=]NAME[,prop=value...]" "choose the machine; -M help lists them" machine::board;
    "cpu"                   "NAME[,+feature][,-feature][,prop=value]" "choose the CPU; -cpu help lists them" machine::cpu;
    "accel"                 "tcg[,prop=value...]" "how instructions are carried out" machine::accel;
    "smp"                   "[cpus=]N[,sockets=S][,dies=D][,cores=C][,threads=T]" "how many CPUs, at most 16" machine::smp;
    "m"                     "[size=]SIZE" "how much memory, in MiB or with a suffix K, M, G (default: 128M)" machine::memory;
    "kernel"                "FILE"  "start this kernel" machine::boot_file;
    "initrd"                "FILE"  "give the kernel this initial RAM disk" machine::boot_file;
    "append"                "WORDS" "the kernel's command line" machine::boot_file;
    "bios"                  "FILE"  "start this firmware (default: bios-256k.bin)" machine::firmware;
    "boot"                  "[order=]DRIVES[,once=DRIVES][,menu=on|off][,splash-time=MS][,reboot-timeout=MS][,strict=on|off]" "what firmware is to try, in which order" machine::boot;
    "fw_cfg"                "[name=]NAME,file=FILE|string=TEXT" "give the guest a file of this name; those of users begin with opt/" machine::fw_cfg;
    "name"                  "[guest=]NAME" "a name for monitors to show" machine::name;
    "uuid"                  "UUID"  "the machine's identifier" machine::uuid;
    "device"                "NAME[,prop=value...]" "add a device; -device help lists them" device::device;
    "global"                "DEVICE.PROP=VALUE" "a property of all devices of a kind" device::global;
    "nodefaults"            ""      "leave out the devices that nobody asked for" |g, _| { g.config.no_defaults = true; Ok(()) };
    "no-user-config"        ""      "accepted: there are no such files" |_, _| Ok(());
    "no-acpi" | "no-hpet"   ""      "as -M acpi=off, -M hpet=off" machine::without;
    "drive"                 "file=FILE[,if=ide|virtio|pflash|none][,format=F][,cache=C][,...]" "add a drive with a disk image" disk::drive;
    "hda" | "hdb" | "hdc" | "hdd" "FILE" "a disk image for one of the first four drives" disk::short;
    "cdrom"                 "FILE"  "a CD image" disk::short;
    "pflash"                "FILE"  "the contents of a flash chip with firmware" disk::short;
    "blockdev"              "[driver=]KIND,node-name=NAME[,...]" "make a block node for a drive" disk::blockdev;
    "snapshot"              ""      "writes to all drives are thrown away at the end" |g, _| { g.snapshot = true; Ok(()) };
    "serial"                "DEV"   "join a serial port to a character device (up to 4)" outside::serial;
    "parallel"              "none"  "parallel ports" outside::parallel;
    "debugcon"              "DEV"   "join port 0xe9 to a character device" outside::debugcon;
    "chardev"               "KIND,id=ID[,mux=on|off][,logfile=FILE][,...]" "make a character device; -chardev help lists them" outside::chardev;
    "monitor"               "DEV"   "join the monitor to a character device" outside::monitor;
    "qmp" | "qmp-pretty"    "DEV"   "join a QMP monitor to a character device" outside::monitor;
    "mon"                   "[chardev=]ID[,mode=readline|control][,pretty=on|off]" "add a monitor" outside::mon;
    "echr"                  "CODE"  "the byte that begins commands to a multiplexer (default: 1, Ctrl-A)" outside::escape;
    "nographic"             ""      "no screen; serial port and monitor on the terminal" outside::screen;
    "display" | "vga" | "vnc" | "audio" "none" "screen, card and sound" outside::screen;
    "net" | "nic"           "none"  "network cards" outside::network;
    "overcommit" | "msg"    "PROP=off" "accepted when it asks for nothing" outside::host;
    "sandbox"               "off"   "accepted: there is none" |_, said| outside::only(said, &["off"], "no sandbox yet");
    "rtc"                   "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]" "the real-time clock" clock::rtc;
    "icount"                "[shift=]N|auto[,align=on|off][,sleep=on|off]" "guest time is the count of instructions, 2^N ns each" clock::icount;
    "seed"                  "NUMBER" "where random numbers come from with -icount" clock::seed;
    "perfmap"               ""      "name native code for perf in /tmp/perf-PID.map" |g, _| { g.config.accel.profilers.map = true; Ok(()) };
    "jitdump"               ""      "name native code for perf inject in jit-PID.dump" |g, _| { g.config.accel.profilers.dump = true; Ok(()) };
    "profile"               "[file=]FILE[,every=N][,symbols=FILE...]" "write where the guest spends its instructions, one sample each N (default: 100000)" profile::profile;
    "S"                     ""      "wait for 'cont' before starting" |g, _| { g.paused = true; Ok(()) };
    "no-reboot"             ""      "leave instead of rebooting" |g, _| { g.actions.reboot = OnReboot::Shutdown; Ok(()) };
    "no-shutdown"           ""      "stop instead of leaving when the guest powers off" |g, _| { g.actions.shutdown = OnShutdown::Pause; Ok(()) };
    "action"                "reboot=|shutdown=|panic=|watchdog=..." "what to do when these happen" action;
    "loadvm"                "FILE"  "go on from a file that savevm wrote" |g, said| { g.load = Some(machine::readable(said)?); Ok(()) };
    "pidfile"               "FILE"  "write the process id to a file" |g, said| { g.pidfile = Some(said.value.into()); Ok(()) };
    "d"                     "ITEM[,...]" "what to log; -d help lists it" log_items;
    "D"                     "FILE"  "where to log to (default: standard error)" |g, said| { g.log_file = Some(said.value.into()); Ok(()) };
    "L"                     "DIR"   "where to look for firmware first" machine::firmware;

    "fda" | "fdb" | "sd" | "mtdblock" "DISK" "" not_yet;
    "netdev"                "KIND"  "" no_network;
    "gdb"                   "DEV"   "" no_gdb;
    "s"                     ""      "" no_gdb;
    "incoming"              "FROM"  "" no_migration;
    "enable-kvm"            ""      "" machine::kvm;
    "daemonize" | "preconfig" | "only-migratable" | "mem-prealloc" | "full-screen" | "usb" | "nouserconfig" "" "" not_yet;
    "dfilter" | "object" | "smbios" | "acpitable" | "readconfig" | "numa" | "mem-path"
        | "run-with" | "runas" | "chroot" | "k" | "g" | "spice" | "audiodev" | "usbdevice" | "virtfs" | "fsdev"
        | "tpmdev" | "trace" | "plugin" | "set" | "add-fd" | "compat" | "watchdog-action" | "iscsi" | "xen-domid" | "option-rom"
        | "dtb" | "shim" | "semihosting-config" | "device-config" "VALUE" "" not_yet;
};

/// The row of an option.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|r| r.names.contains(&name))
}

/// What `-help` shows.
pub fn usage() -> String {
    let mut text = String::from("usage: reprise [options]\nThe options are those of QEMU.\n\n");
    for row in ROWS.iter().filter(|r| !r.help.is_empty()) {
        let names: Vec<_> = row.names.iter().map(|n| format!("-{n}")).collect();
        let space = if row.arg.is_empty() { "" } else { " " };
        text += &format!("{}{space}{}\n        {}\n", names.join(", "), row.arg, row.help);
    }
    text += "\nDuring emulation on a shared terminal:\n";
    text += "Ctrl-A h  help        Ctrl-A x  leave          Ctrl-A c  console or monitor\n";
    text
}

fn help(_: &mut Gathered, _: &mut Said) -> Done {
    Err(Stop::Text(usage()))
}

fn version(_: &mut Gathered, _: &mut Said) -> Done {
    Err(Stop::Text(format!("Reprise emulator version {}\n", env!("CARGO_PKG_VERSION"))))
}

fn refuse(said: &Said, why: &str) -> Done {
    Err(said.fault(why).into())
}

fn no_network(_: &mut Gathered, said: &mut Said) -> Done {
    refuse(said, "no network cards yet; -nic none is accepted")
}

fn no_gdb(_: &mut Gathered, said: &mut Said) -> Done {
    refuse(said, "the GDB stub is not there yet")
}

fn no_migration(_: &mut Gathered, said: &mut Said) -> Done {
    refuse(said, "migration is not there yet; -loadvm goes on from a file")
}

fn not_yet(_: &mut Gathered, said: &mut Said) -> Done {
    refuse(said, "not there yet")
}

fn action(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = super::words::Words::new(said.option, said.value, None)?;
    let reboot = [("reset", OnReboot::Reset), ("shutdown", OnReboot::Shutdown)];
    let shutdown = [("poweroff", OnShutdown::Poweroff), ("pause", OnShutdown::Pause)];
    let panic = [
        ("shutdown", OnPanic::Shutdown),
        ("pause", OnPanic::Pause),
        ("exit-failure", OnPanic::ExitFailure),
        ("none", OnPanic::Nothing),
    ];
    let a = &mut g.actions;
    a.reboot = words.choice("reboot", &reboot)?.unwrap_or(a.reboot);
    a.shutdown = words.choice("shutdown", &shutdown)?.unwrap_or(a.shutdown);
    a.panic = words.choice("panic", &panic)?.unwrap_or(a.panic);
    words.not_yet(&["watchdog"], "no watchdogs yet")?;
    Ok(words.none_left()?)
}

fn log_items(g: &mut Gathered, said: &mut Said) -> Done {
    if said.is_help() {
        return Err(Stop::Text(log_help()));
    }
    g.log_items.clear();
    for name in split(said.value) {
        g.log_items.push(log_item(&name).map_err(|text| said.fault(text))?);
    }
    Ok(())
}

/// What `-d help` shows.
pub fn log_help() -> String {
    let rows: String = ITEMS.iter().map(|i| format!("{:<15} {}\n", i.1, i.2)).collect();
    format!("Log items (comma separated):\n{rows}")
}

/// The log item of this name.
pub fn log_item(name: &str) -> Result<Item, String> {
    Item::named(name).ok_or_else(|| {
        let names: Vec<_> = ITEMS.iter().map(|i| i.1).collect();
        format!("no log item '{name}': expected some of {}", names.join(", "))
    })
}
