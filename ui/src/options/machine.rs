//! What is in the box: `-M`, `-cpu`, `-smp`, `-m`, `-accel` and the kernel to start.

use super::finish::Gathered;
use super::words::{Words, not_a_size, split};
use super::{Said, Stop, number};
use ::machine::config::{
    Accel, Chipset, CpuModel, FwContent, FwFile, MAX_CPUS, MAX_RAM, MIB, Setting, Topology,
};

type Done = Result<(), Stop>;

#[rustfmt::skip]
const BOARDS: &[(&str, Chipset, &str)] = &[
    ("pc",  Chipset::Pc,  "Standard PC (i440FX + PIIX) (default)"),
    ("q35", Chipset::Q35, "Standard PC (Q35 + ICH9)"),
];

/// `-M` and `-machine`.
pub fn board(g: &mut Gathered, said: &mut Said) -> Done {
    if said.is_help() {
        let rows = BOARDS.iter().map(|b| format!("{:<20} {}\n", b.0, b.2));
        return Err(Stop::Text(format!("Supported machines are:\n{}", rows.collect::<String>())));
    }
    let mut words = Words::new(said.option, said.value, Some("type"))?;
    if let Some(name) = words.text("type")? {
        // Versioned names are those of QEMU: pc-i440fx-9.2, pc-q35-8.0. There is one version here.
        let family = match name.as_str() {
            n if n.starts_with("pc-i440fx-") => "pc",
            n if n.starts_with("pc-q35-") => "q35",
            n => n,
        };
        let Some(b) = BOARDS.iter().find(|b| b.0 == family) else {
            let names: Vec<_> = BOARDS.iter().map(|b| b.0).collect();
            let text = format!("no machine '{name}': expected {}", names.join(" or "));
            return Err(said.fault(text).into());
        };
        g.config.board.chipset = b.1;
    }
    if let Some(list) = words.text("accel")? {
        choose_accel(g, said, list.split(':'))?;
    }
    let board = &mut g.config.board;
    for (key, field) in [
        ("acpi", &mut board.acpi),
        ("hpet", &mut board.hpet),
        ("pit", &mut board.pit),
        ("graphics", &mut board.graphics),
        ("i8042", &mut board.i8042),
    ] {
        if let Some(on) = words.on_off(key)? {
            *field = on;
        }
    }
    if let Some(on) = words.on_off("pic")? {
        board.pic = Some(on);
    }
    if let Some(on) = words.on_off_auto("smm")? {
        board.smm = on;
    }
    for (chip, key) in [(0, "pflash0"), (1, "pflash1")] {
        if let Some(name) = words.text(key)? {
            g.flash.retain(|f| f.0 != chip);
            g.flash.push((chip, name));
        }
    }
    // What is off here anyway may be said to be off.
    for key in ["usb", "vmport", "nvdimm", "dump-guest-core", "mem-merge", "sata"] {
        if words.on_off(key)? == Some(true) {
            return Err(said.fault(format!("{key}=on: not there yet")).into());
        }
    }
    words.choice("kernel-irqchip", &[("off", ())])?;
    Ok(words.none_left()?)
}

/// `-no-acpi` and `-no-hpet`.
pub fn without(g: &mut Gathered, said: &mut Said) -> Done {
    match said.option {
        "-no-acpi" => g.config.board.acpi = false,
        _ => g.config.board.hpet = false,
    }
    Ok(())
}

/// `-cpu`.
pub fn cpu(g: &mut Gathered, said: &mut Said) -> Done {
    if said.is_help() {
        return Err(Stop::Text((said.catalog.cpus)()));
    }
    let mut parts = split(said.value).into_iter();
    let model = parts.next().unwrap_or_default();
    if model.is_empty() || model.contains('=') {
        return Err(said.fault(format!("'{model}' is not the name of a CPU")).into());
    }
    let mut cpu = CpuModel { model: Some(model), features: Vec::new() };
    for part in parts {
        let (name, setting) = if let Some(name) = part.strip_prefix('+') {
            (name, Setting::On)
        } else if let Some(name) = part.strip_prefix('-') {
            (name, Setting::Off)
        } else if let Some((name, value)) = part.split_once('=') {
            let setting = match number::on_off(value) {
                Some(true) => Setting::On,
                Some(false) => Setting::Off,
                None => Setting::Is(value.to_string()),
            };
            (name, setting)
        } else {
            (part.as_str(), Setting::On)
        };
        if name.is_empty() || name.contains('=') {
            let text = format!("'{part}' is not a feature: expected +name, -name or name=on|off");
            return Err(said.fault(text).into());
        }
        cpu.features.push((name.to_string(), setting));
    }
    g.config.cpu = cpu;
    Ok(())
}

/// `-smp`: what is left out follows from what is there, cores before sockets.
pub fn smp(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("cpus"))?;
    let mut counts = [None; 8];
    let keys = ["cpus", "sockets", "dies", "cores", "threads", "maxcpus", "clusters", "modules"];
    for (key, count) in keys.into_iter().zip(&mut counts) {
        *count = words.number(key, 1..=u64::from(MAX_CPUS))?.map(|n| n as u32);
    }
    words.none_left()?;
    let [cpus, sockets, dies, cores, threads, max, clusters, modules] = counts;
    if clusters.is_some_and(|n| n > 1) || modules.is_some_and(|n| n > 1) {
        return Err(said.fault("clusters and modules of more than 1 are not there yet").into());
    }
    let (dies_of, threads_of) = (dies.unwrap_or(1), threads.unwrap_or(1));
    let known = dies_of * threads_of;
    let all = max.or(cpus).unwrap_or_else(|| known * sockets.unwrap_or(1) * cores.unwrap_or(1));
    let (sockets, cores) = match (sockets, cores) {
        (Some(s), Some(c)) => (s, c),
        (Some(s), None) => (s, (all / (known * s)).max(1)),
        (None, Some(c)) => ((all / (known * c)).max(1), c),
        (None, None) => (1, (all / known).max(1)),
    };
    let product = sockets * cores * known;
    let cpus = cpus.unwrap_or(all);
    let t = Topology { cpus, sockets, dies: dies_of, cores, threads: threads_of };
    let shape = format!(
        "sockets ({sockets}) * dies ({dies_of}) * cores ({cores}) * threads ({threads_of})"
    );
    let complete = counts[1].is_some() && counts[3].is_some();
    let expected = if complete { max.unwrap_or(product) } else { all };
    if product != expected.max(cpus) {
        let start = if cpus > all { format!(", {cpus} of them from the start") } else { "".into() };
        let text = format!("{shape} is {product}, but there are to be {all} CPUs{start}");
        return Err(said.fault(text).into());
    }
    if product > MAX_CPUS {
        return Err(said.fault(format!("{product} CPUs: at most {MAX_CPUS}")).into());
    }
    g.config.topology = t;
    Ok(())
}

/// `-m`: in MiB unless it says otherwise.
pub fn memory(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("size"))?;
    words.not_yet(&["slots", "maxmem"], "memory to be plugged in later is not there yet")?;
    let text = words.needed("size")?;
    words.none_left()?;
    let Some(bytes) = number::size(&text, MIB) else {
        return Err(said.fault(not_a_size(&text)).into());
    };
    if bytes > MAX_RAM {
        return Err(said.fault(format!("'{text}' is too much: at most 64G")).into());
    }
    // Zero is the default, and odd sizes are rounded up to 8 KiB, as QEMU does.
    g.config.ram = match bytes {
        0 => 128 * MIB,
        n if n < MIB => {
            return Err(said.fault(format!("'{text}' is too little: at least 1M")).into());
        }
        n => n.next_multiple_of(8192),
    };
    Ok(())
}

/// `-accel`.
pub fn accel(g: &mut Gathered, said: &mut Said) -> Done {
    if said.is_help() {
        return Err(Stop::Text("Accelerators supported:\ntcg\n".into()));
    }
    let mut words = Words::new(said.option, said.value, Some("accel"))?;
    let name = words.needed("accel")?;
    choose_accel(g, said, [name.as_str()].into_iter())?;
    if name != "tcg" {
        return Ok(());
    }
    let megabytes = words.number("tb-size", 0..=1 << 20)?.filter(|n| *n != 0);
    let compiler = words.choice("compiler", &[("own", false), ("cranelift", true)])?;
    let accel = Accel {
        code_bytes: megabytes.map(|n| n * MIB),
        one_instruction: words.on_off("one-insn-per-tb")?.unwrap_or(false),
        baseline: executions(&mut words, "baseline")?,
        regions: executions(&mut words, "regions")?,
        cranelift: compiler.unwrap_or(false),
        code_cache: words.text("code-cache")?.map(Into::into),
        profilers: g.config.accel.profilers,
    };
    words.choice("thread", &[("single", ())])?;
    if words.on_off("split-wx")? == Some(true) {
        return Err(said.fault("split-wx=on: not there yet").into());
    }
    words.none_left()?;
    g.config.accel = accel;
    Ok(())
}

/// After how many executions something is done: a number or `never`.
fn executions(words: &mut Words, name: &'static str) -> Result<Option<u32>, Stop> {
    let Some(text) = words.text(name)? else { return Ok(None) };
    match (text.as_str(), number::whole(&text).map(u32::try_from)) {
        ("never", _) => Ok(Some(u32::MAX)),
        (_, Some(Ok(n))) => Ok(Some(n)),
        _ => Err(words.fault(format!("{name}={text}: expected a number or never")).into()),
    }
}

/// Accelerators are tried in order, so any list with `tcg` in it will do.
fn choose_accel<'a>(g: &mut Gathered, said: &Said, names: impl Iterator<Item = &'a str>) -> Done {
    for name in names {
        match name {
            "tcg" => g.tcg = true,
            "kvm" | "hvf" | "whpx" | "xen" | "nvmm" | "hax" | "mshv" => {
                g.other_accel.get_or_insert((said.option.to_string(), name.to_string()));
            }
            _ => return Err(said.fault(format!("no accelerator '{name}': expected tcg")).into()),
        }
    }
    Ok(())
}

/// `-enable-kvm`.
pub fn kvm(g: &mut Gathered, said: &mut Said) -> Done {
    choose_accel(g, said, ["kvm"].into_iter())
}

/// `-kernel`, `-initrd` and `-append`.
pub fn boot_file(g: &mut Gathered, said: &mut Said) -> Done {
    let boot = &mut g.config.boot;
    match said.option {
        "-append" => boot.append = Some(said.value.to_string()),
        "-initrd" => boot.initrd = Some(readable(said)?),
        _ => boot.kernel = Some(said.value.into()),
    }
    Ok(())
}

/// The file that is named, which must be there.
pub fn readable(said: &Said) -> Result<std::path::PathBuf, Stop> {
    match std::fs::File::open(said.value) {
        Ok(_) => Ok(said.value.into()),
        Err(e) => {
            let why = super::reason(&e);
            Err(said.fault(format!("cannot read '{}': {why}", said.value)).into())
        }
    }
}

/// `-boot`: what firmware is told of it.
pub fn boot(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("order"))?;
    words.not_yet(&["splash"], "needs a screen, not there yet")?;
    for key in ["order", "once"] {
        let Some(letters) = words.text(key)? else { continue };
        if letters.is_empty() || !letters.bytes().all(|b| matches!(b, b'a'..=b'd' | b'n'..=b'p')) {
            let text = format!("{key}={letters}: expected drive letters a to d, n to p");
            return Err(said.fault(text).into());
        }
        let boot = &mut g.config.boot;
        *(if key == "order" { &mut boot.order } else { &mut boot.once }) = Some(letters);
    }
    let boot = &mut g.config.boot;
    boot.strict = words.on_off("strict")?.unwrap_or(boot.strict);
    boot.menu = words.on_off("menu")?.unwrap_or(boot.menu);
    if let Some(time) = words.number("splash-time", 0..=0xFFFF)? {
        boot.splash_time = Some(time as u16);
    }
    if let Some(text) = words.text("reboot-timeout")? {
        boot.reboot_timeout = match text.parse() {
            Ok(time @ -1..=0xFFFF) => Some(time),
            _ => {
                let text = format!("reboot-timeout={text}: expected a number from -1 to 65535");
                return Err(said.fault(text).into());
            }
        };
    }
    Ok(words.none_left()?)
}

/// `-bios` and `-L`.
pub fn firmware(g: &mut Gathered, said: &mut Said) -> Done {
    match said.option {
        "-L" if said.is_help() => return Err(Stop::Text(::machine::firmware::places())),
        "-L" => g.config.boot.firmware_dirs.push(said.value.into()),
        _ => g.config.boot.firmware = Some(said.value.into()),
    }
    Ok(())
}

/// `-fw_cfg`: a file for the guest, from a file or from the command line.
pub fn fw_cfg(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("name"))?;
    words.not_yet(&["gen_id"], "objects that make contents are not there yet")?;
    let name = words.needed("name")?;
    if name.len() > 55 {
        return Err(said.fault(format!("name={name}: at most 55 bytes")).into());
    }
    let content = match (words.text("file")?, words.text("string")?) {
        (Some(path), None) => FwContent::File(path.into()),
        (None, Some(text)) => FwContent::Text(text.into_bytes()),
        _ => return Err(said.fault("expected either file= or string=").into()),
    };
    words.none_left()?;
    g.config.fw_files.push(FwFile { name, content });
    Ok(())
}

/// `-name`.
pub fn name(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("guest"))?;
    g.config.name = words.text("guest")?;
    // How threads are named in a debugger is no part of the machine; ours always have names.
    words.on_off("debug-threads")?;
    words.not_yet(&["process"], "not there yet")?;
    Ok(words.none_left()?)
}

/// `-uuid`.
pub fn uuid(g: &mut Gathered, said: &mut Said) -> Done {
    let text = said.value.as_bytes();
    let dashes = text.len() == 36
        && text.iter().enumerate().all(|(n, b)| match n {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    if !dashes {
        let text = format!("'{}' is not a UUID: expected 8-4-4-4-12 hex digits", said.value);
        return Err(said.fault(text).into());
    }
    let hex: String = said.value.chars().filter(|c| *c != '-').collect();
    for (n, byte) in g.config.uuid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap_or(0);
    }
    Ok(())
}
