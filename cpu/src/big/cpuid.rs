//! CPU models and CPUID.  SDM 2A, CPUID; APM 3, appendix E.
//!
//! What CPUID says follows from one table of features. A feature has a name (for `-cpu`), a place in CPUID, and the iced-x86
//! features that instructions need it for: leave it out of a model and those instructions are #UD.

mod leaves;
mod models;
mod table;

pub use table::Feature;

use crate::{Features, Insn, Interp, Raised};

/// A CPU model with its flags, and its place in the machine.
#[derive(Clone, Debug)]
pub struct Model {
    pub name: String,
    /// "GenuineIntel" and the like.
    pub vendor: [u8; 12],
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    /// Up to 48 characters.
    pub brand: String,
    on: u128,
    phys_bits: u32,
    /// Packages, cores in each, threads in each.
    topology: (u32, u32, u32),
    /// 1 GHz and so on: what leaf 0x15 says of the time-stamp counter.
    tsc_hz: u64,
}

impl Model {
    /// Everything there is.
    pub fn max() -> Self {
        models::named("max").unwrap_or_else(|| models::basic("max", "AuthenticAMD"))
    }

    /// The value of `-cpu`: a model's name, then `+feature`, `-feature`, `feature=on` or `feature=off`, and
    /// `phys-bits=`, `vendor=`, `family=`, `model=`, `stepping=`, `model-id=`.
    pub fn parse(text: &str) -> Result<Model, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let mut m = models::named(name).ok_or_else(|| {
            format!("CPU model '{name}' is not known: expected one of {}", models::names())
        })?;
        for part in parts.filter(|p| !p.is_empty()) {
            m.apply(part)?;
        }
        m.settle();
        Ok(m)
    }

    fn apply(&mut self, part: &str) -> Result<(), String> {
        if let Some(name) = part.strip_prefix('+') {
            return self.switch(name, true);
        }
        if let Some(name) = part.strip_prefix('-') {
            return self.switch(name, false);
        }
        let Some((key, value)) = part.split_once('=') else { return self.switch(part, true) };
        let number = |min: u32, max: u32| {
            let n = match value.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => value.parse().ok(),
            };
            n.filter(|n| (min..=max).contains(n)).ok_or_else(|| {
                format!("CPU property '{key}={value}': expected a number from {min} to {max}")
            })
        };
        match key {
            "phys-bits" => self.phys_bits = number(32, 52)?,
            "family" => self.family = number(0, 0xff + 0xf)?,
            "model" => self.model = number(0, 0xff)?,
            "stepping" => self.stepping = number(0, 0xf)?,
            "model-id" => self.brand = value.chars().filter(char::is_ascii).take(48).collect(),
            "vendor" => {
                self.vendor = value.as_bytes().try_into().map_err(|_| {
                    format!("CPU property 'vendor={value}': expected twelve characters")
                })?;
            }
            _ => match value {
                "on" | "yes" | "true" => self.switch(key, true)?,
                "off" | "no" | "false" => self.switch(key, false)?,
                _ => return Err(format!("CPU property '{part}': expected {key}=on or {key}=off")),
            },
        }
        Ok(())
    }

    fn switch(&mut self, name: &str, on: bool) -> Result<(), String> {
        let plain = name.replace('_', "-");
        match table::find(&plain) {
            Some(f) if on => self.on |= f.bit(),
            Some(f) => self.on &= !f.bit(),
            // How QEMU treats the machine, not what the guest sees: accepted, and already so.
            None if IGNORED.contains(&plain.as_str()) => {}
            None if !on && models::UNAVAILABLE.contains(&plain.as_str()) => {}
            None if models::UNAVAILABLE.contains(&plain.as_str()) => {
                return Err(format!("CPU feature '{name}' is not available here"));
            }
            None => return Err(format!("CPU feature '{name}' is not known (see -cpu help)")),
        }
        Ok(())
    }

    /// Leaves out what cannot be without something else that is off.
    fn settle(&mut self) {
        for &(f, needs) in table::NEEDS {
            if self.offers(f) && !self.offers(needs) {
                self.on &= !f.bit();
            }
        }
    }

    pub fn offers(&self, f: Feature) -> bool {
        self.on & f.bit() != 0
    }
    /// The same by name.
    pub fn has(&self, name: &str) -> bool {
        table::find(name).is_some_and(|f| self.offers(f))
    }
    /// The iced-x86 features of the instructions that this model has.
    pub fn features(&self) -> Features {
        table::features(|f| self.offers(f))
    }
    /// Width of physical addresses.
    pub fn phys_bits(&self) -> u32 {
        match self.offers(Feature::Pae) || self.offers(Feature::Pse36) {
            true => self.phys_bits,
            false => 32,
        }
    }
    pub fn gigabyte_pages(&self) -> bool {
        self.offers(Feature::Pdpe1gb)
    }
    pub fn amd(&self) -> bool {
        matches!(&self.vendor, b"AuthenticAMD" | b"HygonGenuine")
    }
    /// CPUID leaf 1 EAX, and EDX after reset.
    pub fn signature(&self) -> u32 {
        let (base, extra) =
            if self.family > 15 { (15, self.family - 15) } else { (self.family, 0) };
        self.stepping & 15
            | (self.model & 15) << 4
            | base << 8
            | (self.model >> 4 & 15) << 16
            | extra << 20
    }
    /// CPUID leaf 1 EDX of a single processor.
    pub fn first_features(&self) -> u32 {
        table::bits(|f| self.offers(f), 1, 0, table::Reg::Edx)
    }
    /// Says how many packages, cores in each, and threads in each the machine has.
    pub fn set_topology(&mut self, packages: u32, cores: u32, threads: u32) {
        self.topology = (packages.max(1), cores.max(1), threads.max(1));
    }
    /// Says how fast the time-stamp counter runs.
    pub fn set_tsc_hz(&mut self, hz: u64) {
        self.tsc_hz = hz;
    }
    /// What `-cpu help` prints.
    pub fn help() -> String {
        let mut out = String::from("Available CPUs:\n");
        for (name, brand) in models::list() {
            out += &format!("  {name:<20} {brand}\n");
        }
        out += "\nRecognized CPU features:\n ";
        let mut column = 1;
        for name in table::names() {
            if column + name.len() > 76 {
                out += "\n ";
                column = 1;
            }
            out += &format!(" {name}");
            column += name.len() + 1;
        }
        out + "\n"
    }
}

/// What `-cpu help` prints.
pub fn help() -> String {
    Model::help()
}

/// Properties of QEMU's that change nothing here.
const IGNORED: &[&str] = &[
    "migratable",
    "enforce",
    "check",
    "host-phys-bits",
    "hypervisor-cpuid",
    "host-cache-info",
    "l3-cache",
    "fill-mtrr-mask",
    "kvm",
    "pmu",
    "lmce",
    "full-cpuid-auto-level",
    "cpuid-0xb",
    "vmware-cpuid-freq",
    "tcg-cpuid",
];

/// CPUID.
pub fn cpuid(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let g = &s.c.state.gpr;
    let [a, b, c, d] = leaves::leaf(s.c, g[0] as u32, g[1] as u32);
    let g = &mut s.c.state.gpr;
    (g[0], g[3], g[1], g[2]) = (a as u64, b as u64, c as u64, d as u64);
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn models_are_parsed_and_mistakes_named() {
        let m =
            Model::parse("qemu64,+avx2,+avx,+xsave,-nx,phys-bits=36,vendor=GenuineIntel").unwrap();
        assert!(m.offers(Feature::Avx2) && !m.offers(Feature::Nx) && !m.amd());
        assert_eq!(m.phys_bits(), 36);
        assert!(Model::parse("zx80").unwrap_err().contains("expected one of"));
        assert!(Model::parse("max,+nonsense").unwrap_err().contains("not known"));
        assert!(Model::parse("max,+avx512f").unwrap_err().contains("not available"));
        assert!(Model::parse("max,phys-bits=99").unwrap_err().contains("from 32 to 52"));
        assert!(Model::parse("max,nx=maybe").is_err());
        assert!(Model::parse("max,-avx512f,migratable=no,host-phys-bits").is_ok());
    }

    #[test]
    fn what_hangs_on_another_feature_goes_with_it() {
        let m = Model::parse("max,-xsave").unwrap();
        assert!(!m.offers(Feature::Avx) && !m.offers(Feature::Avx2) && !m.offers(Feature::Fma));
        use iced_x86::CpuidFeature as C;
        assert!(!m.features().has(C::AVX) && m.features().has(C::SSE4_2));
        assert!(!Model::max().features().has(C::AVX512F));
        assert!(!Model::max().features().has(C::SVM));
    }

    #[test]
    fn every_listed_model_can_be_made() {
        for (name, _) in models::list() {
            let m = Model::parse(name).unwrap();
            assert!(m.offers(Feature::Fpu) && m.signature() != 0, "{name}");
        }
        assert!(Model::help().contains("qemu64"));
    }

    #[test]
    fn signatures_fold_family_and_model() {
        let m = Model::parse("Haswell").unwrap();
        assert_eq!(m.signature() & !0xf, 0x306c0);
        assert_eq!(Model::parse("EPYC").unwrap().signature(), 0x800f12);
    }
}
