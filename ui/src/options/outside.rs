//! What the machine is joined to: `-chardev`, `-serial`, `-monitor`, `-qmp`, `-debugcon`, screens and networks.

use super::device::well_formed;
use super::finish::{Front, Gathered, WantedMonitor};
use super::words::Words;
use super::{Address, Chardev, ChardevKind, Fault, Mode, Said, Socket, Stop, number};
use std::time::Duration;

type Done = Result<(), Stop>;

const BACKENDS: &[&str] = &["file", "null", "pipe", "pty", "ringbuf", "socket", "stdio"];

/// `-chardev`.
pub fn chardev(g: &mut Gathered, said: &mut Said) -> Done {
    let list = || {
        let rows = BACKENDS.iter().map(|b| format!("  {b}\n"));
        Stop::Text(format!("Available chardev backend types:\n{}", rows.collect::<String>()))
    };
    if said.is_help() {
        return Err(list());
    }
    let mut words = Words::new(said.option, said.value, Some("backend"))?;
    if words.asks_help() {
        return Err(list());
    }
    let backend = words.needed("backend")?;
    let id = words.needed("id")?;
    well_formed(&id).map_err(|text| said.fault(text))?;
    let kind = match backend.as_str() {
        "null" => ChardevKind::Null,
        "stdio" => ChardevKind::Stdio { signals: words.on_off("signal")?.unwrap_or(true) },
        "file" => ChardevKind::File {
            path: words.needed("path")?.into(),
            append: words.on_off("append")?.unwrap_or(false),
            input: words.text("input-path")?.map(Into::into),
        },
        "pipe" => ChardevKind::Pipe { path: words.needed("path")?.into() },
        "pty" => ChardevKind::Pty { link: words.text("path")?.map(Into::into) },
        "ringbuf" | "memory" => ringbuf(&mut words)?,
        "socket" => ChardevKind::Socket(socket(&mut words)?),
        _ => {
            let text = format!("no backend '{backend}': expected one of {}", BACKENDS.join(", "));
            return Err(said.fault(text).into());
        }
    };
    let c = Chardev {
        option: said.option.to_string(),
        id,
        kind,
        mux: words.on_off("mux")?.unwrap_or(false),
        logfile: words.text("logfile")?.map(Into::into),
        logappend: words.on_off("logappend")?.unwrap_or(false),
    };
    words.none_left()?;
    g.chardevs.push(c);
    Ok(())
}

fn ringbuf(words: &mut Words) -> Result<ChardevKind, Fault> {
    let size = words.size("size", 1)?.unwrap_or(65536);
    if !size.is_power_of_two() || size > 1 << 30 {
        return Err(words.fault(format!("size={size}: expected a power of two up to 1G")));
    }
    Ok(ChardevKind::Ringbuf { size: size as usize })
}

/// The words about a socket. `path=` makes it a Unix one, `port=` a TCP one.
fn socket(words: &mut Words) -> Result<Socket, Fault> {
    let later = ["tls-creds", "tls-authz", "websocket", "tn3270", "fd", "to", "abstract"];
    words.not_yet(&later, "not there yet")?;
    let address = match (words.text("path")?, words.text("port")?) {
        (Some(path), None) if !path.is_empty() => Address::Unix(path.into()),
        (None, Some(port)) => {
            let host = words.text("host")?.unwrap_or_default();
            Address::Tcp { host, port: parse_port(words, &port)? }
        }
        (Some(_), Some(_)) => return Err(words.fault("either path= or port=, not both")),
        _ => return Err(words.fault("expected path=... or port=...")),
    };
    let server = words.on_off("server")?.unwrap_or(false);
    let wait = words.on_off("wait")?;
    if wait.is_some() && !server {
        return Err(words.fault("wait= is for a server only"));
    }
    let telnet = words.on_off("telnet")?.unwrap_or(false);
    // Small writes go out at once unless delay=on.
    let delay = words.on_off("delay")?.map(|d| !d);
    let nodelay = words.on_off("nodelay")?.or(delay).unwrap_or(true);
    let seconds = words.number("reconnect", 0..=86_400)?.map(Duration::from_secs);
    let millis = words.number("reconnect-ms", 0..=86_400_000)?.map(Duration::from_millis);
    let reconnect = seconds.or(millis).filter(|d| !d.is_zero());
    if server && reconnect.is_some() {
        return Err(words.fault("reconnect= is for a client only"));
    }
    let wait = wait.unwrap_or(server);
    Ok(Socket { address, server, wait, telnet, nodelay, reconnect })
}

fn parse_port(words: &Words, text: &str) -> Result<u16, Fault> {
    match number::whole(text) {
        Some(n @ 0..=0xFFFF) if !text.starts_with('0') || n == 0 => Ok(n as u16),
        _ => Err(words.fault(format!("port '{text}': expected a number from 0 to 65535"))),
    }
}

/// The short form of a back end, as in `-serial stdio`.
fn short(option: &str, label: &str, text: &str) -> Result<Front, Fault> {
    if let Some(id) = text.strip_prefix("chardev:") {
        return Ok(Front::Named(id.to_string()));
    }
    if let Some(rest) = text.strip_prefix("mon:") {
        return match short(option, label, rest)? {
            Front::Own { mut chardev, monitor: false } => {
                chardev.mux = true;
                if let ChardevKind::Stdio { signals } = &mut chardev.kind {
                    *signals = false;
                }
                Ok(Front::Own { chardev, monitor: true })
            }
            _ => Err(Fault::new(option, format!("'{text}': nothing a monitor could share"))),
        };
    }
    let (kind, rest) = match text {
        "/dev/null" => ("null", ""),
        text => text.split_once(':').unwrap_or((text, "")),
    };
    let path = || match rest {
        "" => Err(Fault::new(option, format!("'{text}': expected {kind}:PATH"))),
        path => Ok(path.into()),
    };
    let kind = match kind {
        "none" if rest.is_empty() => return Ok(Front::Absent),
        "null" if rest.is_empty() => ChardevKind::Null,
        // There is no screen yet on which a virtual console could be shown.
        "vc" => ChardevKind::Null,
        "stdio" if rest.is_empty() => ChardevKind::Stdio { signals: true },
        "pty" => ChardevKind::Pty { link: Some(rest).filter(|r| !r.is_empty()).map(Into::into) },
        "file" => ChardevKind::File { path: path()?, append: false, input: None },
        "pipe" => ChardevKind::Pipe { path: path()? },
        "unix" => {
            let mut words = Words::new(option, rest, Some("path"))?;
            let s = socket(&mut words)?;
            words.none_left()?;
            ChardevKind::Socket(s)
        }
        "tcp" | "telnet" => ChardevKind::Socket(short_tcp(option, text, rest, kind == "telnet")?),
        _ => {
            let text = format!(
                "'{text}' is not a character device: expected stdio, null, none, pty, file:PATH, \
                 pipe:PATH, unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT, chardev:ID or mon:one of these"
            );
            return Err(Fault::new(option, text));
        }
    };
    let chardev = Chardev {
        option: option.to_string(),
        id: label.to_string(),
        kind,
        mux: false,
        logfile: None,
        logappend: false,
    };
    Ok(Front::Own { chardev, monitor: false })
}

/// `HOST:PORT[,words]`; a host with colons stands in brackets.
fn short_tcp(option: &str, text: &str, rest: &str, telnet: bool) -> Result<Socket, Fault> {
    let (place, words) = rest.split_once(',').unwrap_or((rest, ""));
    let Some((host, port)) = place.rsplit_once(':') else {
        return Err(Fault::new(option, format!("'{text}': expected HOST:PORT")));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let words = if words.is_empty() { String::new() } else { format!(",{words}") };
    let line = format!("{port}{words},host={}", host.replace(',', ",,"));
    let mut words = Words::new(option, &line, Some("port"))?;
    let mut s = socket(&mut words)?;
    words.none_left()?;
    s.telnet |= telnet;
    Ok(s)
}

/// `-serial`.
pub fn serial(g: &mut Gathered, said: &mut Said) -> Done {
    let n = g.serials.len();
    if n == ::machine::config::SERIAL_PORTS {
        return Err(said.fault(format!("'{}' would be the fifth: at most 4", said.value)).into());
    }
    g.serials.push(short(said.option, &format!("serial{n}"), said.value)?);
    Ok(())
}

/// `-parallel`: there are no such ports, which is what `none` asks for.
pub fn parallel(_: &mut Gathered, said: &mut Said) -> Done {
    only(said, &["none"], "no parallel ports yet")
}

/// `-debugcon`.
pub fn debugcon(g: &mut Gathered, said: &mut Said) -> Done {
    let label = format!("debugcon{}", g.debugcons.len());
    match short(said.option, if g.debugcons.is_empty() { "debugcon" } else { &label }, said.value)?
    {
        Front::Absent => Ok(()),
        front => {
            g.debugcons.push(front);
            Ok(())
        }
    }
}

/// `-monitor`, `-qmp` and `-qmp-pretty`.
pub fn monitor(g: &mut Gathered, said: &mut Said) -> Done {
    let mode = match said.option {
        "-qmp" => Mode::Control { pretty: false },
        "-qmp-pretty" => Mode::Control { pretty: true },
        _ => Mode::Readline,
    };
    g.said_monitor = true;
    let label = format!("compat_monitor{}", g.monitors.len());
    let front = short(said.option, &label, said.value)?;
    if matches!(front, Front::Own { monitor: true, .. }) {
        return Err(said.fault(format!("'{}': a monitor already", said.value)).into());
    }
    if !matches!(front, Front::Absent) {
        g.monitors.push(WantedMonitor { option: said.option.to_string(), front, mode });
    }
    Ok(())
}

/// `-mon`.
pub fn mon(g: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, Some("chardev"))?;
    let front = Front::Named(words.needed("chardev")?);
    let control = words.choice("mode", &[("readline", false), ("control", true)])?;
    let pretty = words.on_off("pretty")?;
    if let Some(id) = words.text("id")? {
        well_formed(&id).map_err(|text| said.fault(text))?;
    }
    words.none_left()?;
    let mode = match (control.unwrap_or(false), pretty) {
        (true, pretty) => Mode::Control { pretty: pretty.unwrap_or(false) },
        (false, None) => Mode::Readline,
        (false, Some(_)) => return Err(said.fault("pretty= is for mode=control only").into()),
    };
    g.said_monitor = true;
    g.monitors.push(WantedMonitor { option: said.option.to_string(), front, mode });
    Ok(())
}

/// `-nographic`, and everything about screens and sound.
pub fn screen(g: &mut Gathered, said: &mut Said) -> Done {
    match said.option {
        "-nographic" => {
            g.nographic = true;
            g.said_display = true;
            Ok(())
        }
        "-display" if said.is_help() => {
            Err(Stop::Text("Available display backend types:\nnone\n".into()))
        }
        "-vga" if said.is_help() => Err(Stop::Text(
            "none                 no graphic card\nstd                  standard VGA\n".into(),
        )),
        "-vga" => {
            g.vga = Some(match said.value {
                "none" => false,
                "std" => true,
                other => {
                    return Err(said.fault(format!("'{other}': expected std or none")).into());
                }
            });
            Ok(())
        }
        _ => {
            g.said_display |= matches!(said.option, "-display" | "-vnc");
            only(said, &["none"], "not there yet: no screens, cards or sound")
        }
    }
}

/// `-net`, `-nic`.
pub fn network(_: &mut Gathered, said: &mut Said) -> Done {
    only(said, &["none"], "no network cards yet")
}

/// Options about the host that may ask for nothing in particular.
pub fn host(_: &mut Gathered, said: &mut Said) -> Done {
    let mut words = Words::new(said.option, said.value, None)?;
    for key in ["mem-lock", "cpu-pm", "timestamp", "guest-name"] {
        if words.on_off(key)? == Some(true) {
            return Err(said.fault(format!("{key}=on: not there yet")).into());
        }
    }
    Ok(words.none_left()?)
}

/// Takes the few values that ask for what is so anyway.
pub fn only(said: &Said, fine: &[&str], why: &str) -> Done {
    if fine.contains(&said.value) {
        return Ok(());
    }
    let text = format!("'{}': {why}; expected {}", said.value, fine.join(" or "));
    Err(said.fault(text).into())
}

/// `-echr`: the escape byte of multiplexers.
pub fn escape(g: &mut Gathered, said: &mut Said) -> Done {
    match number::whole(said.value) {
        Some(n @ 0..=255) => {
            g.escape = Some(n as u8);
            Ok(())
        }
        _ => Err(said.fault(format!("'{}': expected a number from 0 to 255", said.value)).into()),
    }
}
