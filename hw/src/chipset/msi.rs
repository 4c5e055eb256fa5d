//! What a write to 0xFEEx_xxxx means.  SDM 3A, 11.11.

use device::{ApicMessage, Delivery, Target};

/// The addresses that are interrupt messages.
pub const ADDRESSES: std::ops::Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// The message of this write, or `None` for a reserved delivery mode.
pub fn decode(address: u64, data: u32) -> Option<ApicMessage> {
    let how = match data >> 8 & 7 {
        0 => Delivery::Fixed,
        1 => Delivery::LowestPriority,
        2 => Delivery::Smi,
        4 => Delivery::Nmi,
        5 => Delivery::Init,
        7 => Delivery::ExtInt,
        _ => return None,
    };
    let (id, logical) = ((address >> 12) as u32 & 0xFF, address & 4 != 0);
    let to = match (id, logical) {
        (0xFF, false) => Target::All,
        (id, false) => Target::Physical(id),
        (id, true) => Target::Logical(id),
    };
    Some(ApicMessage { to, how, vector: data as u8, level_triggered: data & 0x8000 != 0 })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn address_and_data_make_a_message() {
        let m = decode(0xFEE0_3000, 0x4041).unwrap();
        assert_eq!((m.to, m.how, m.vector), (Target::Physical(3), Delivery::Fixed, 0x41));
        let m = decode(0xFEE0_300C, 0x4141).unwrap();
        assert_eq!((m.to, m.how), (Target::Logical(3), Delivery::LowestPriority));
        assert_eq!(decode(0xFEEF_F000, 0).unwrap().to, Target::All);
        assert_eq!(decode(0xFEE0_0000, 0x300), None);
    }
}
