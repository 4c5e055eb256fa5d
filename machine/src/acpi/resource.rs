//! Resource descriptors (ACPI 6.5, 6.4) and raw AML that the `acpi_tables` crate lacks.

use acpi_tables::{Aml, AmlSink};

/// AML made elsewhere.
pub struct Raw(pub Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

pub fn bytes(aml: &dyn Aml) -> Vec<u8> {
    let mut out = Vec::new();
    aml.to_aml_bytes(&mut out);
    out
}

/// IRQ descriptor of two bytes, without flags: edge, active high, exclusive (6.4.2.1).
pub struct Irq(pub u8);

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << (self.0 & 15));
    }
}

/// Extended interrupt descriptor: level, active high, shared, any of several (6.4.3.6).
/// The first number is at byte 5.
pub struct Levels<'a>(pub &'a [u32]);

impl Aml for Levels<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const CONSUMER: u8 = 1;
        const SHARED: u8 = 1 << 3;
        sink.byte(0x89);
        sink.word(2 + 4 * self.0.len() as u16);
        sink.byte(CONSUMER | SHARED);
        sink.byte(self.0.len() as u8);
        for n in self.0 {
            sink.dword(*n);
        }
    }
}
