//! Mouse and single keys: `input-send-event` of QMP, `mouse_move` and `mouse_button` of the monitor.

use super::keys;
use super::qmp::Fault;
use crate::vm::Vm;
use serde_json::Value;

/// Buttons by QMP's names, with their bits in [`device::Input::Pointer`].
const BUTTONS: &[(&str, u8)] = &[("left", 1), ("right", 2), ("middle", 4)];

/// One event, checked.
enum Event {
    Key { code: u8, down: bool },
    Button { bit: u8, down: bool },
    Wheel(i32),
    Move { dx: i32, dy: i32 },
}

fn event(e: &Value) -> Option<Event> {
    let data = &e["data"];
    match e["type"].as_str()? {
        "key" => {
            let (key, down) = (&data["key"], data["down"].as_bool()?);
            let code = match key["type"].as_str()? {
                "qcode" => keys::code(key["data"].as_str()?)?,
                "number" => u8::try_from(key["data"].as_u64()?).ok()?,
                _ => return None,
            };
            Some(Event::Key { code, down })
        }
        "btn" => {
            let (name, down) = (data["button"].as_str()?, data["down"].as_bool()?);
            match name {
                "wheel-up" => Some(Event::Wheel(if down { -1 } else { 0 })),
                "wheel-down" => Some(Event::Wheel(if down { 1 } else { 0 })),
                _ => BUTTONS
                    .iter()
                    .find(|b| b.0 == name)
                    .map(|&(_, bit)| Event::Button { bit, down }),
            }
        }
        "rel" => {
            let by = i32::try_from(data["value"].as_i64()?).ok()?;
            match data["axis"].as_str()? {
                "x" => Some(Event::Move { dx: by, dy: 0 }),
                "y" => Some(Event::Move { dx: 0, dy: by }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `input-send-event`: all of the list, or, if one is wrong, nothing of it.
pub fn send(vm: &mut Vm, list: &[Value]) -> Result<(), Fault> {
    let mut events = Vec::new();
    for e in list {
        if e["type"] == "abs" {
            // As the mouse has no positions, only motion.
            return Err(Fault::generic("Input handler not found for event type abs"));
        }
        let known = event(e);
        events
            .push(known.ok_or_else(|| Fault::generic(format!("Invalid parameter 'events': {e}")))?);
    }
    let mut motion = (0, 0, 0);
    let mut moved = false;
    for e in events {
        match e {
            Event::Key { code, down } => vm.guest.key(code, down),
            Event::Button { bit, down } => {
                let buttons = if down { vm.buttons | bit } else { vm.buttons & !bit };
                vm.pointer(motion.0, motion.1, motion.2, buttons);
                (motion, moved) = ((0, 0, 0), false);
            }
            Event::Wheel(by) => (motion.2, moved) = (motion.2 + by, true),
            Event::Move { dx, dy } => {
                (motion.0, motion.1) = (dx.saturating_add(motion.0), dy.saturating_add(motion.1));
                moved = true;
            }
        }
    }
    if moved {
        vm.pointer(motion.0, motion.1, motion.2, vm.buttons);
    }
    Ok(())
}

/// `mouse_move dx dy [dz]`.
pub fn mouse_move(vm: &mut Vm, args: &str) -> Result<String, String> {
    let numbers: Result<Vec<i32>, _> = args.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok([dx, dy]) => vm.pointer(*dx, *dy, 0, vm.buttons),
        Ok([dx, dy, dz]) => vm.pointer(*dx, *dy, *dz, vm.buttons),
        _ => return Err(format!("'{args}': expected dx dy [dz]")),
    }
    Ok(String::new())
}

/// `mouse_button state`: 1 left, 2 right, 4 middle.
pub fn mouse_button(vm: &mut Vm, args: &str) -> Result<String, String> {
    let buttons: u8 = args.parse().map_err(|_| format!("'{args}': expected 0 to 7"))?;
    vm.pointer(0, 0, 0, buttons & 7);
    Ok(String::new())
}
