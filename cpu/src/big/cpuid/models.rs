//! The models: names, vendors and signatures as QEMU has them, with the features that are really there.

use super::Model;
use super::table::{Feature, TABLE};
use Feature::*;

/// Features that QEMU knows and we do not have.
#[rustfmt::skip]
pub const UNAVAILABLE: &[&str] = &[
    "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd", "avx512-vnni", "avx512-bf16", "avx512vbmi", "avx512ifma",
    "avx512-vbmi2", "avx512-bitalg", "avx512-vpopcntdq", "avx-vnni", "amx-tile", "amx-int8", "amx-bf16", "vmx", "svm", "npt",
    "hle", "rtm", "xop", "tbm", "fma4", "3dnow", "3dnowext", "mpx", "sgx", "ssbd", "stibp", "ibpb", "ibrs", "amd-stibp",
    "amd-ssbd", "waitpkg", "movdiri", "movdir64b", "cldemote", "pconfig", "intel-pt", "smx", "est", "tm", "tm2", "acpi", "ht",
    "pbe", "dtes64", "ds", "ds-cpl", "vmx-mbec", "skinit", "osvw", "ibs", "wdt", "lwp", "topoext", "perfctr-core",
    "perfctr-nb", "pause-filter", "pfthreshold", "vgif", "nrip-save", "xtpr", "pdcm", "cid", "ia64", "pn", "dca", "bus-lock-detect",
    "cmp-ccxadd", "shstk", "ibt", "lam", "fred", "md-clear", "core-capability", "fdp-excptn-only", "zero-fcs-fds", "tsc-scale",
];

#[rustfmt::skip]
const BASE: &[Feature] = &[
    Fpu, Vme, De, Pse, Tsc, Msr, Pae, Mce, Cx8, Apic, Sep, Mtrr, Pge, Mca, Cmov, Pat, Pse36, Clflush, Mmx, Fxsr, Sse, Sse2,
    Hypervisor, X2apic, TscAdjust, Arat,
];
const LONG: &[Feature] = &[Lm, Nx, Syscall, Cx16, Sse3, LahfLm];
const NEHALEM: &[Feature] = &[Ssse3, Sse41, Sse42, Popcnt];
const SANDY: &[Feature] = &[Aes, Pclmulqdq, Avx, Xsave, Xsaveopt, TscDeadline, Rdtscp];
const IVY: &[Feature] = &[Erms, F16c, Fsgsbase, Rdrand, Smep];
const HASWELL: &[Feature] = &[Avx2, Bmi1, Bmi2, Fma, Invpcid, Movbe, Pcid, Abm];
const BROADWELL: &[Feature] = &[Adx, Rdseed, Smap, Prefetchw];
const SKYLAKE: &[Feature] = &[Xsavec, Xgetbv1];
const SERVER: &[Feature] = &[Pdpe1gb, Clflushopt, Clwb, Pku];
#[rustfmt::skip]
const EPYC: &[Feature] = &[
    Ssse3, Sse41, Sse42, Popcnt, Aes, Pclmulqdq, Avx, Xsave, Xsaveopt, Rdtscp, F16c, Fsgsbase, Rdrand, Smep, Avx2, Bmi1, Bmi2,
    Fma, Movbe, Abm, Adx, Rdseed, Smap, Prefetchw, Xsavec, Xgetbv1, Pdpe1gb, Clflushopt, Sha, Mmxext, Cr8Legacy,
    Misalign, Sse4a, FxsrOpt, TscDeadline,
];
const ROME: &[Feature] = &[Umip, Clwb, Rdpid, Wbnoinvd, Clzero];
const MILAN: &[Feature] = &[Vaes, Vpclmulqdq, Invpcid, Pcid, Erms, Fsrm, Pku];

struct Line {
    name: &'static str,
    vendor: &'static str,
    /// Family, model, stepping.
    fms: (u32, u32, u32),
    phys_bits: u32,
    brand: &'static str,
    features: &'static [&'static [Feature]],
    not: &'static [Feature],
}

const INTEL: &str = "GenuineIntel";
const AMD: &str = "AuthenticAMD";

#[rustfmt::skip]
static LINES: &[Line] = &[
    // "max" is filled in `named`.
    Line { name: "max", vendor: AMD, fms: (6, 6, 3), phys_bits: 40, brand: "Reprise virtual CPU, all features", features: &[], not: &[Rdpru] },
    Line { name: "qemu64", vendor: AMD, fms: (15, 107, 1), phys_bits: 40, brand: "QEMU Virtual CPU version 2.5+", features: &[BASE, LONG], not: &[] },
    Line { name: "qemu32", vendor: INTEL, fms: (6, 6, 3), phys_bits: 32, brand: "QEMU Virtual CPU version 2.5+", features: &[BASE, &[Sse3]], not: &[] },
    Line { name: "kvm64", vendor: INTEL, fms: (15, 6, 1), phys_bits: 40, brand: "Common KVM processor", features: &[BASE, LONG], not: &[LahfLm] },
    Line { name: "Conroe", vendor: INTEL, fms: (6, 15, 3), phys_bits: 40, brand: "Intel Celeron_4x0 (Conroe/Merom Class Core 2)", features: &[BASE, LONG, &[Ssse3]], not: &[] },
    Line { name: "Penryn", vendor: INTEL, fms: (6, 23, 3), phys_bits: 40, brand: "Intel Core 2 Duo P9xxx (Penryn Class Core 2)", features: &[BASE, LONG, &[Ssse3, Sse41]], not: &[] },
    Line { name: "Nehalem", vendor: INTEL, fms: (6, 26, 3), phys_bits: 40, brand: "Intel Core i7 9xx (Nehalem Class Core i7)", features: &[BASE, LONG, NEHALEM], not: &[] },
    Line { name: "Westmere", vendor: INTEL, fms: (6, 44, 1), phys_bits: 40, brand: "Westmere E56xx/L56xx/X56xx (Nehalem-C)", features: &[BASE, LONG, NEHALEM, &[Aes, Pclmulqdq]], not: &[] },
    Line { name: "SandyBridge", vendor: INTEL, fms: (6, 42, 1), phys_bits: 40, brand: "Intel Xeon E312xx (Sandy Bridge)", features: &[BASE, LONG, NEHALEM, SANDY], not: &[] },
    Line { name: "IvyBridge", vendor: INTEL, fms: (6, 58, 9), phys_bits: 40, brand: "Intel Xeon E3-12xx v2 (Ivy Bridge)", features: &[BASE, LONG, NEHALEM, SANDY, IVY], not: &[] },
    Line { name: "Haswell", vendor: INTEL, fms: (6, 60, 4), phys_bits: 40, brand: "Intel Core Processor (Haswell)", features: &[BASE, LONG, NEHALEM, SANDY, IVY, HASWELL], not: &[] },
    Line { name: "Broadwell", vendor: INTEL, fms: (6, 61, 2), phys_bits: 40, brand: "Intel Core Processor (Broadwell)", features: &[BASE, LONG, NEHALEM, SANDY, IVY, HASWELL, BROADWELL], not: &[] },
    Line { name: "Skylake-Client", vendor: INTEL, fms: (6, 94, 3), phys_bits: 40, brand: "Intel Core Processor (Skylake)", features: &[BASE, LONG, NEHALEM, SANDY, IVY, HASWELL, BROADWELL, SKYLAKE], not: &[] },
    Line { name: "Skylake-Server", vendor: INTEL, fms: (6, 85, 4), phys_bits: 46, brand: "Intel Xeon Processor (Skylake)", features: &[BASE, LONG, NEHALEM, SANDY, IVY, HASWELL, BROADWELL, SKYLAKE, SERVER], not: &[] },
    Line { name: "Opteron_G1", vendor: AMD, fms: (15, 6, 1), phys_bits: 40, brand: "AMD Opteron 240 (Gen 1 Class Opteron)", features: &[BASE, LONG], not: &[Cx16, LahfLm] },
    Line { name: "EPYC", vendor: AMD, fms: (23, 1, 2), phys_bits: 48, brand: "AMD EPYC Processor", features: &[BASE, LONG, EPYC], not: &[] },
    Line { name: "EPYC-Rome", vendor: AMD, fms: (23, 49, 0), phys_bits: 48, brand: "AMD EPYC-Rome Processor", features: &[BASE, LONG, EPYC, ROME], not: &[] },
    Line { name: "EPYC-Milan", vendor: AMD, fms: (25, 1, 1), phys_bits: 48, brand: "AMD EPYC-Milan Processor", features: &[BASE, LONG, EPYC, ROME, MILAN], not: &[] },
];

/// Not in "max": what only says something about other silicon.
const NOT_MAX: &[Feature] = &[Ss, CmpLegacy, Sse4a, FxsrOpt, ArchCaps, SpecCtrl];

/// A model without features.
pub fn basic(name: &str, vendor: &str) -> Model {
    let mut v = [b' '; 12];
    for (to, from) in v.iter_mut().zip(vendor.bytes()) {
        *to = from;
    }
    Model {
        name: name.to_string(),
        vendor: v,
        family: 6,
        model: 6,
        stepping: 3,
        brand: String::new(),
        on: 0,
        phys_bits: 40,
        topology: (1, 1, 1),
        tsc_hz: 1_000_000_000,
    }
}

pub fn named(name: &str) -> Option<Model> {
    let name = match name {
        "host" | "base" | "" => return None,
        // QEMU's versions of a model: all the same here.
        n => n.strip_suffix("-v1").or(n.strip_suffix("-v2")).unwrap_or(n),
    };
    let name = name.strip_suffix("-noTSX").or(name.strip_suffix("-IBRS")).unwrap_or(name);
    let line = LINES.iter().find(|l| l.name == name)?;
    let mut m = basic(line.name, line.vendor);
    (m.family, m.model, m.stepping) = line.fms;
    m.phys_bits = line.phys_bits;
    m.brand = line.brand.to_string();
    for f in line.features.iter().copied().flatten() {
        m.on |= f.bit();
    }
    if line.name == "max" {
        for row in TABLE.iter().filter(|r| !NOT_MAX.contains(&r.feature)) {
            m.on |= row.feature.bit();
        }
    }
    for f in line.not {
        m.on &= !f.bit();
    }
    if m.offers(Lm) {
        m.on |= NullBase.bit();
    }
    Some(m)
}

pub fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    LINES.iter().map(|l| (l.name, l.brand))
}
pub fn names() -> String {
    let all: Vec<_> = LINES.iter().map(|l| l.name).collect();
    all.join(", ")
}
