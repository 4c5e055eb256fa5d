//! Command lines, good and bad.

use super::*;
use ::machine::config::*;
use ::machine::devices::Props;
use ::machine::devices::Value::{self, Number};

fn said(list: &[(&'static str, Value)]) -> Props {
    list.iter().fold(Props::default(), |props, (name, value)| props.with(name, value.clone()))
}

const CATALOG: Catalog = Catalog { cpus: || "max\n".to_string(), check_cpu: |_| Ok(()) };

fn read(line: &str) -> Result<Options, Stop> {
    // A file that is always there stands for the kernel.
    let kernel = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let words: Vec<String> =
        line.split_whitespace().map(|w| w.replace("@", kernel).replace('~', " ")).collect();
    parse(&words, &CATALOG)
}

fn good(line: &str) -> Options {
    read(&format!("-kernel @ {line}")).unwrap_or_else(|e| panic!("{line}: {e:?}"))
}

#[test]
fn bad_lines_say_what_where_and_what_was_expected() {
    #[rustfmt::skip]
    let rows = [
        ("-foo", "-foo: no such option; see reprise -help"),
        ("--foo", "-foo: no such option; see reprise -help"),
        ("-hda x -drive file=y,index=0", "-drive: index=0: there is a drive at that place already"),
        ("-drive file=x,if=scsi", "-drive: if=scsi: expected one of ide, virtio, pflash, none"),
        ("-drive if=ide,index=1", "-drive: file= is missing"),
        ("-drive file=x,index=7", "-drive: index=7: the controller has 4 places"),
        ("-drive file=x,cache=fast", "-drive: cache=fast: expected one of writeback, none, writethrough, directsync, unsafe"),
        ("-drive file=nbd:x", "-drive: file=nbd:x: no protocol 'nbd' here: expected a file's name"),
        ("-drive file=x,id=a,if=none -drive file=y,id=a,if=none", "-drive: id=a: there is a drive of that name already"),
        ("-blockdev driver=file,filename=x", "-blockdev: node-name= is missing"),
        ("-blockdev {", "-blockdev: not JSON: EOF while parsing an object at line 1 column 1"),
        ("-device virtio-blk-pci,drive=z", "-device: drive=z: no -drive and no -blockdev of that name"),
        ("-drive file=x,id=d,if=none -device virtio-blk-pci,drive=d,werror=maybe", "-device: werror=maybe: expected one of auto, report, ignore, stop, enospc"),
        ("-M pflash0=z", "-machine: pflash0=z: no -drive and no -blockdev of that name"),
        ("-pflash x -blockdev driver=file,filename=y,node-name=n -M q35,pflash0=n", "-machine: pflash0=n: there is a flash chip at that place already"),
        ("-vga cirrus", "-vga: 'cirrus': expected std or none"),
        ("-fda x", "-fda: not there yet"),
        ("-m", "-m: expected [size=]SIZE after it"),
        ("-kernel @ -initrd /no/such", "-initrd: cannot read '/no/such': No such file or directory"),
        ("-initrd @", "-initrd: only allowed with -kernel"),
        ("-append x", "-append: only allowed with -kernel"),
        ("-kernel /no/such", "-kernel: could not open kernel file '/no/such': No such file or directory"),
        ("-boot menu=on,reboot-timeout=-2", "-boot: reboot-timeout=-2: expected a number from -1 to 65535"),
        ("-boot splash=x.jpg", "-boot: splash: needs a screen, not there yet"),
        ("-fw_cfg opt/x", "-fw_cfg: expected either file= or string="),
        ("-netdev user,id=n", "-netdev: no network cards yet; -nic none is accepted"),
        ("-nic user", "-nic: 'user': no network cards yet; expected none"),
        ("-s", "-s: the GDB stub is not there yet"),
        ("-gdb tcp::1", "-gdb: the GDB stub is not there yet"),
        ("-incoming x", "-incoming: migration is not there yet; -loadvm goes on from a file"),
        ("-daemonize", "-daemonize: not there yet"),
        ("-display sdl", "-display: 'sdl': not there yet: no screens, cards or sound; expected none"),
        ("-M isapc", "-M: no machine 'isapc': expected pc or q35"),
        ("-machine pc,foo=1", "-machine: 'foo' is not known: expected one of type, accel, acpi, hpet, pit, graphics, i8042, pic, smm, pflash0, pflash1, usb, vmport, nvdimm, dump-guest-core, mem-merge, sata, kernel-irqchip"),
        ("-M pc,hpet=7", "-M: hpet=7: expected on or off"),
        ("-M q35,smm=perhaps", "-M: smm=perhaps: expected on or off"),
        ("-enable-kvm", "-enable-kvm: 'kvm' needs a processor of the host; expected tcg"),
        ("-accel kvm", "-accel: 'kvm' needs a processor of the host; expected tcg"),
        ("-accel fast", "-accel: no accelerator 'fast': expected tcg"),
        ("-accel tcg,thread=multi", "-accel: thread=multi: expected one of single"),
        ("-cpu ,x", "-cpu: '' is not the name of a CPU"),
        ("-cpu max,+", "-cpu: '+' is not a feature: expected +name, -name or name=on|off"),
        ("-smp 0", "-smp: cpus=0: expected a number from 1 to 16"),
        ("-smp 17", "-smp: cpus=17: expected a number from 1 to 16"),
        ("-smp two", "-smp: cpus=two: expected a number from 1 to 16"),
        ("-smp 4,sockets=3", "-smp: sockets (3) * dies (1) * cores (1) * threads (1) is 3, but there are to be 4 CPUs"),
        ("-smp 2,cores=4", "-smp: sockets (1) * dies (1) * cores (4) * threads (1) is 4, but there are to be 2 CPUs"),
        ("-smp 4,maxcpus=2", "-smp: sockets (1) * dies (1) * cores (2) * threads (1) is 2, but there are to be 2 CPUs, 4 of them from the start"),
        ("-smp cores=8,threads=4", "-smp: 32 CPUs: at most 16"),
        ("-m 1x", "-m: '1x' is not a size: expected a number, perhaps with a suffix K, M, G or T"),
        ("-m 65G", "-m: '65G' is too much: at most 64G"),
        ("-m 1T", "-m: '1T' is too much: at most 64G"),
        ("-m 4K", "-m: '4K' is too little: at least 1M"),
        ("-m 1G,slots=2", "-m: slots: memory to be plugged in later is not there yet"),
        ("-uuid 12", "-uuid: '12' is not a UUID: expected 8-4-4-4-12 hex digits"),
        ("-boot order=x", "-boot: order=x: expected drive letters a to d, n to p"),
        ("-rtc base=never", "-rtc: base=never: expected utc, localtime, or a date as in 2006-06-17T16:01:21"),
        ("-rtc clock=sun", "-rtc: clock=sun: expected one of host, rt, vm"),
        ("-accel tcg,baseline=often", "-accel: baseline=often: expected a number or never"),
        (
            "-accel tcg,compiler=fast",
            "-accel: compiler=fast: expected one of own, cranelift",
        ),
        ("-accel tcg,tb-size=1M", "-accel: tb-size=1M: expected a number from 0x0 to 0x100000"),
        ("-accel tcg,tb-size=1048577", "-accel: tb-size=1048577: expected a number from 0x0 to 0x100000"),
        ("-accel tcg,regions=4294967296", "-accel: regions=4294967296: expected a number or never"),
        ("-icount shift=11", "-icount: shift=11: expected auto or a number from 0 to 10"),
        ("-icount sleep=off", "-icount: shift= is missing: expected auto or 0 to 10"),
        ("-icount auto,sleep=off", "-icount: shift=auto and sleep=off contradict each other"),
        ("-icount 1,sleep=off,align=on", "-icount: align=on and sleep=off contradict each other"),
        ("-icount 1,rr=record", "-icount: rr: record and replay is not there yet"),
        ("-profile every=5", "-profile: file= is missing"),
        ("-profile x,every=0", "-profile: every=0: expected a number from 0x1 to 0x10000000000"),
        ("-profile x,every=often", "-profile: every=often: expected a number from 0x1 to 0x10000000000"),
        ("-profile x,symbols", "-profile: symbols needs a value: symbols=..."),
        ("-profile x,by=line", "-profile: 'by' is not known: expected one of file, every, symbols"),
        ("-seed x", "-seed: 'x' is not a number"),
        ("-action panic=cry", "-action: panic=cry: expected one of shutdown, pause, exit-failure, none"),
        ("-action watchdog=none", "-action: watchdog: no watchdogs yet"),
        ("-d exec,foo", "-d: no log item 'foo': expected some of in_asm, int, exec, cpu, cpu_reset, guest_errors, unimp"),
        ("-device e1000", "-device: no device 'e1000'; -device help lists those that there are"),
        ("-device isa-debug-exit,iobase=70000", "-device: iobase=70000: expected a number from 0x0 to 0xffff"),
        ("-device pvpanic,foo", "-device: 'foo' is not known: expected one of driver, id, ioport, events"),
        ("-device pvpanic,id=1", "-device: id=1: expected a letter and then letters, digits, '-', '.' or '_'"),
        ("-device pci-testdev,addr=20", "-device: addr=20: expected a slot 0 to 1f and a function 0 to 7"),
        ("-kernel @ -device pvpanic,id=a -device pc-testdev,id=a", "-device: id=a: there is one of that name already"),
        ("-kernel @ -device isa-serial,chardev=x", "-device: no chardev 'x'"),
        ("-global foo", "-global: driver= is missing"),
        ("-chardev null", "-chardev: id= is missing"),
        ("-chardev spice,id=a", "-chardev: no backend 'spice': expected one of file, null, pipe, pty, ringbuf, socket, stdio"),
        ("-chardev socket,id=a", "-chardev: expected path=... or port=..."),
        ("-chardev socket,id=a,port=x", "-chardev: port 'x': expected a number from 0 to 65535"),
        ("-chardev socket,id=a,port=1,wait=off", "-chardev: wait= is for a server only"),
        ("-chardev socket,id=a,port=1,websocket=on", "-chardev: websocket: not there yet"),
        ("-chardev file,id=a", "-chardev: path= is missing"),
        ("-chardev ringbuf,id=a,size=3", "-chardev: size=3: expected a power of two up to 1G"),
        ("-kernel @ -chardev null,id=a -chardev null,id=a", "-chardev: id=a: there is one of that name already"),
        ("-serial foo", "-serial: 'foo' is not a character device: expected stdio, null, none, pty, file:PATH, pipe:PATH, unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT, chardev:ID or mon:one of these"),
        ("-serial file:", "-serial: 'file:': expected file:PATH"),
        ("-serial tcp:1", "-serial: 'tcp:1': expected HOST:PORT"),
        ("-serial null -serial null -serial null -serial null -serial pty", "-serial: 'pty' would be the fifth: at most 4"),
        ("-kernel @ -serial chardev:x", "-serial: no chardev 'x'"),
        ("-kernel @ -serial stdio -monitor stdio", "-serial: stdio is in use already, by 'compat_monitor0' of -monitor"),
        ("-kernel @ -nographic -serial stdio", "-serial: stdio is in use already, by 'compat_monitor0' of -nographic"),
        ("-kernel @ -chardev null,id=a -serial chardev:a -serial chardev:a", "-serial: chardev 'a' is in use already; mux=on lets it be shared"),
        ("-mon foo,mode=loud", "-mon: mode=loud: expected one of readline, control"),
        ("-mon foo,pretty=on", "-mon: pretty= is for mode=control only"),
        ("-monitor mon:stdio", "-monitor: 'mon:stdio': a monitor already"),
        ("-parallel stdio", "-parallel: 'stdio': no parallel ports yet; expected none"),
        ("-msg timestamp=on", "-msg: timestamp=on: not there yet"),
        ("-sandbox on", "-sandbox: 'on': no sandbox yet; expected off"),
        ("-serial /dev/ttyS0", "-serial: '/dev/ttyS0' is not a character device: expected stdio, null, none, pty, file:PATH, pipe:PATH, unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT, chardev:ID or mon:one of these"),
        ("-echr x", "-echr: 'x': expected a number from 0 to 255"),
    ];
    for (line, want) in rows {
        match read(line) {
            Err(Stop::Fault(f)) => assert_eq!(f.to_string(), want, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn nothing_said_is_a_pc_of_qemu() {
    let o = good("");
    let mut want = Config::default();
    want.boot.kernel = o.config.boot.kernel.clone();
    want.serial[0] = Some(Backend(0));
    // The screen, and a CD drive with nothing in it.
    want.devices = o.config.devices.clone();
    want.drives = o.config.drives.clone();
    assert_eq!(o.config, want);
    let drivers: Vec<_> = want.devices.iter().map(|d| d.driver).collect();
    assert_eq!(drivers, ["VGA", "ide-cd"]);
    assert!(want.drives.len() == 1 && want.drives[0].name == "ide1-cd0");
    assert_eq!(o.disks[0].content, Content::Empty);
    assert!(good("-nodefaults").config.devices.is_empty());
    assert_eq!(o.chardevs[0].kind, ChardevKind::Null);
    assert_eq!(o.warnings.len(), 1);
    assert!(good("-display none").warnings.is_empty());
}

#[test]
fn machine_options_are_understood() {
    let c = |line| good(line).config;
    assert_eq!(c("-M q35,hpet=off").board.chipset, Chipset::Q35);
    assert!(!c("-M q35,hpet=off").board.hpet);
    assert!(!c("-no-hpet").board.hpet);
    assert!(!c("-machine acpi=off").board.acpi);
    assert_eq!(c("-M q35 -M acpi=on").board.chipset, Chipset::Q35);
    assert_eq!(c("-machine pc-q35-9.2,accel=kvm:tcg").board.chipset, Chipset::Q35);
    assert_eq!(c("-m 1.5G").ram, 3 << 29);
    assert_eq!(c("-m 0").ram, 128 * MIB);
    assert_eq!(c("-m size=256").ram, 256 * MIB);
    assert_eq!(c("-m 64G").ram, MAX_RAM);
    assert_eq!(c("-m 256 -m 1G").ram, GIB);
    assert_eq!(c("-name a,,b").name.as_deref(), Some("a,b"));
    assert_eq!(c("-name guest=vm,debug-threads=on").name.as_deref(), Some("vm"));
    assert_eq!(c("-uuid 00112233-4455-6677-8899-aabbccddeeff").uuid[15], 0xFF);
    assert_eq!(c("-append a=b~c,d").boot.append.as_deref(), Some("a=b c,d"));
    assert_eq!(c("-accel kvm -accel tcg,tb-size=64").accel.code_bytes, Some(64 * MIB));
    assert_eq!(c("-accel tcg,tb-size=0").accel.code_bytes, None);
    assert_eq!(c("-accel tcg,code-cache=/a/b").accel.code_cache, Some("/a/b".into()));
    assert!(c("-accel tcg,one-insn-per-tb=on,thread=single").accel.one_instruction);
    let cpu = c("-cpu max,+avx,-sse4.2,x2apic,level=0xd,hypervisor=off").cpu;
    let set = |n: &str, s| (n.to_string(), s);
    assert_eq!(cpu.model.as_deref(), Some("max"));
    let want = [
        set("avx", Setting::On),
        set("sse4.2", Setting::Off),
        set("x2apic", Setting::On),
        set("level", Setting::Is("0xd".into())),
        set("hypervisor", Setting::Off),
    ];
    assert_eq!(cpu.features, want);
}

#[test]
fn topologies_are_completed() {
    for (line, want) in [
        ("4", [4, 1, 1, 4, 1]),
        ("cpus=4,threads=2", [4, 1, 1, 2, 2]),
        ("8,sockets=2", [8, 2, 1, 4, 1]),
        ("8,sockets=2,cores=2,threads=2", [8, 2, 1, 2, 2]),
        ("cores=4", [4, 1, 1, 4, 1]),
        ("16,dies=2,maxcpus=16", [16, 1, 2, 8, 1]),
        ("2,maxcpus=4", [2, 1, 1, 4, 1]),
        ("2,maxcpus=8,sockets=2,threads=2", [2, 2, 1, 2, 2]),
        ("1,sockets=2,cores=2", [1, 2, 1, 2, 1]),
    ] {
        let t = good(&format!("-smp {line}")).config.topology;
        assert_eq!([t.cpus, t.sockets, t.dies, t.cores, t.threads], want, "{line}");
    }
}

#[test]
fn time_is_understood() {
    let c = |line| good(line).config;
    let count = |shift, sleep, align| Timebase::Count { shift, sleep, align };
    assert_eq!(c("").time, Timebase::Host);
    assert_eq!(c("-icount auto").time, count(Shift::Auto, true, false));
    assert_eq!(c("-icount shift=7,sleep=off").time, count(Shift::Fixed(7), false, false));
    assert_eq!(c("-icount 3,align=on").time, count(Shift::Fixed(3), true, true));
    assert_eq!(c("-rtc base=2006-06-17T16:01:21").rtc.base, RtcBase::At(1_150_560_081));
    assert_eq!(c("-rtc base=localtime,clock=vm").rtc.clock, RtcClock::Vm);
    assert_eq!(c("-seed 0x10").seed, Some(16));
}

#[test]
fn profiles_are_understood() {
    let p = |line| good(line).profile;
    assert_eq!(p(""), None);
    let want = Profile { file: "a".into(), every: 100_000, symbols: Vec::new() };
    assert_eq!(p("-profile a"), Some(want));
    let symbols = vec!["b".into(), "c,d".into()];
    let want = Profile { file: "a".into(), every: 5, symbols };
    assert_eq!(p("-profile symbols=b,file=a,every=5,symbols=c,,d"), Some(want));
}

#[test]
fn fronts_are_joined_to_backends() {
    let kinds = |o: &Options| -> Vec<_> {
        o.chardevs.iter().map(|c| (c.id.clone(), c.kind.clone(), c.mux)).collect()
    };
    let stdio = |signals| ChardevKind::Stdio { signals };
    let readline = |chardev| Monitor { chardev, mode: Mode::Readline };

    let o = good("-nographic");
    assert_eq!(kinds(&o), [("serial0".into(), stdio(false), true)]);
    assert_eq!(o.monitors, [readline(0)]);
    assert_eq!(o.config.serial, [Some(Backend(0)), None, None, None]);

    let o = good("-nographic -serial none");
    assert_eq!(kinds(&o), [("compat_monitor0".into(), stdio(true), false)]);
    assert_eq!(o.config.serial, [None; 4]);

    let o = good("-nographic -monitor none");
    assert_eq!(kinds(&o), [("serial0".into(), stdio(true), false)]);
    assert!(o.monitors.is_empty());

    let o = good("-nodefaults -nographic");
    assert!(o.chardevs.is_empty() && o.monitors.is_empty());

    let o = good("-display none -serial none -serial mon:stdio");
    assert_eq!(o.config.serial, [None, Some(Backend(0)), None, None]);
    assert_eq!(o.monitors, [readline(0)]);

    let o = good("-nographic -serial mon:stdio -serial null");
    assert_eq!(kinds(&o)[0], ("serial0".into(), stdio(false), true));
    assert_eq!(o.monitors, [readline(0)]);

    let o = good(
        "-chardev stdio,id=c,mux=on,signal=off,logfile=/l -serial chardev:c -mon chardev=c \
         -qmp unix:/q,server,nowait -device isa-debugcon,chardev=c,iobase=0x402",
    );
    assert_eq!(o.chardevs[0].logfile.as_deref(), Some("/l".as_ref()));
    assert_eq!(o.monitors[1].mode, Mode::Control { pretty: false });
    let ChardevKind::Socket(s) = &o.chardevs[1].kind else { panic!("{o:?}") };
    assert!(s.server && !s.wait && s.address == Address::Unix("/q".into()));
    assert_eq!(
        o.config.devices[2],
        DeviceSpec::new(
            "isa-debugcon",
            said(&[("iobase", Number(0x402)), ("chardev", Value::Chardev(Backend(0)))])
        )
    );
}

#[test]
fn devices_take_properties_and_globals() {
    let o = good(
        "-device isa-debug-exit,iobase=0xf4,iosize=0x04,id=x -global isa-debug-exit.iosize=1 \
         -device isa-debug-exit -global isa-debugcon.iobase=0x402 -debugcon null \
         -global ICH9-LPC.disable_s3=1 -device pci-testdev,addr=1e.7,membar=64K",
    );
    let addr = PciAddr { slot: 0x1E, function: 7 };
    let mut exit = said(&[("iobase", Number(0xF4)), ("iosize", Number(4))]);
    let first = DeviceSpec { id: Some("x".into()), driver: "isa-debug-exit", props: exit };
    exit = said(&[("iosize", Number(1))]);
    let pci = said(&[("membar", Number(65536)), ("addr", Value::PciAddr(addr))]);
    let con = said(&[("iobase", Number(0x402)), ("chardev", Value::Chardev(Backend(1)))]);
    assert_eq!(
        o.config.devices[2..],
        [
            first,
            DeviceSpec::new("isa-debug-exit", exit),
            DeviceSpec::new("pci-testdev", pci),
            DeviceSpec::new("isa-debugcon", con),
        ]
    );
    assert_eq!(o.config.globals.len(), 1);
    let warning = "-global: ICH9-LPC.disable_s3 is nothing that can be set here";
    assert!(o.warnings.contains(&warning.to_string()), "{:?}", o.warnings);
}

#[test]
fn nodes_are_what_names_them() {
    let node = |name: &str| format!("-blockdev driver=file,filename=x,node-name={name}");
    let all = ["disk", "cd", "code", "vars"].map(node).join(" ");
    let o = good(&format!(
        "{all} -device virtio-blk-pci,drive=disk,id=v -device ide-cd,drive=cd,id=c \
         -M q35,pflash1=vars,pflash0=code"
    ));
    let drive = |name: &str| o.config.drives.iter().position(|d| d.name == name).unwrap();
    assert!(!o.config.drives[drive("v")].removable && o.config.drives[drive("c")].removable);
    let chips = ["pflash0", "pflash1"].map(|name| DriveId(drive(name) as u32));
    assert_eq!(o.config.flash, chips);
    for (chip, node) in [("pflash0", "code"), ("pflash1", "vars")] {
        assert_eq!(o.disks[drive(chip)].content, Content::Node(node.into()));
    }
}

#[test]
fn sockets_are_read_in_both_forms() {
    let socket = |line: &str| match good(line).chardevs.remove(0).kind {
        ChardevKind::Socket(s) => s,
        other => panic!("{other:?}"),
    };
    let a = socket("-serial tcp:[::1]:5555,server=on,wait=off");
    let b = socket("-chardev socket,id=a,host=::1,port=5555,server=on,wait=off");
    assert_eq!(a, b);
    assert_eq!(a.address, Address::Tcp { host: "::1".into(), port: 5555 });
    let c = socket("-serial telnet::4444,server");
    assert!(c.telnet && c.wait);
    let d = socket("-chardev socket,id=a,path=/x,reconnect=2");
    assert_eq!(d.reconnect, Some(std::time::Duration::from_secs(2)));
    assert!(!d.server && !d.wait);
}

/// How other projects start QEMU.
#[test]
fn well_known_lines_are_accepted() {
    for line in [
        // kvm-unit-tests
        "-nodefaults -device pc-testdev -device isa-debug-exit,iobase=0xf4,iosize=0x4 -vnc none \
         -serial stdio -device pci-testdev -machine accel=tcg -smp 1 -cpu max",
        // kernel tests
        "-nographic -no-reboot -m 512 -nic none -append console=ttyS0~panic=-1",
        "-nographic -serial mon:stdio -monitor none -M q35 -smp 4,sockets=1,cores=2,threads=2",
        "-display none -serial file:/dev/null -monitor /dev/null -net none -no-user-config",
        // libvirt
        "-name guest=a,debug-threads=on -S -machine pc-q35-9.2,usb=off,vmport=off,dump-guest-core=off \
         -accel tcg -m size=1048576k -overcommit mem-lock=off -smp 2,sockets=2,cores=1,threads=1 \
         -uuid 00112233-4455-6677-8899-aabbccddeeff -no-user-config -nodefaults \
         -chardev socket,id=charmonitor,path=/m,server=on,wait=off \
         -mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc,driftfix=slew -no-shutdown \
         -boot strict=on -sandbox off -msg timestamp=off \
         -chardev pty,id=charserial0 -device isa-serial,chardev=charserial0,id=serial0,index=0",
    ] {
        good(line);
    }
}

#[test]
fn actions_are_understood() {
    let a = good("-no-reboot -no-shutdown -action panic=exit-failure").actions;
    assert_eq!(a.reboot, OnReboot::Shutdown);
    assert_eq!(a.shutdown, OnShutdown::Pause);
    assert_eq!(a.panic, OnPanic::ExitFailure);
    assert!(good("-S").paused);
    assert_eq!(good("-d int,cpu_reset -D x").log_items, [Item::Int, Item::CpuReset]);
}

#[test]
fn help_is_a_text() {
    for (line, want) in [
        ("-h", "usage: reprise"),
        // Test runners look for this word to find whether a program takes its options.
        ("-h", "QEMU"),
        ("--help", "-icount [shift=]N|auto"),
        ("-version", "version"),
        ("-M help", "q35"),
        ("-cpu help", "max"),
        ("-accel help", "tcg"),
        ("-device help", "isa-debug-exit"),
        ("-device isa-debug-exit,help", "iobase=<uint16>"),
        ("-device virtio-blk-pci,help", "drive=<str>"),
        ("-chardev help", "socket"),
        ("-d help", "guest_errors"),
    ] {
        match read(line) {
            Err(Stop::Text(t)) => assert!(t.contains(want), "{line}: {t}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}
