//! The features: name, place in CPUID, what instructions need it.

use crate::Features;
use iced_x86::CpuidFeature;

/// A register of a CPUID leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reg {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

pub struct Row {
    pub feature: Feature,
    pub names: &'static [&'static str],
    pub leaf: u32,
    pub sub: u32,
    pub reg: Reg,
    pub bit: u32,
    pub needed_by: &'static [CpuidFeature],
}

macro_rules! features {
    ($($name:ident $($text:literal)|+, $leaf:literal $sub:literal $reg:ident $bit:literal [$($iced:ident)*];)*) => {
        /// A feature that CPUID shows.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Feature { $($name),* }
        pub static TABLE: &[Row] = &[$(Row {
            feature: Feature::$name, names: &[$($text),+], leaf: $leaf, sub: $sub, reg: Reg::$reg, bit: $bit,
            needed_by: &[$(CpuidFeature::$iced),*],
        }),*];
    };
}

#[rustfmt::skip]
features! {
    Fpu        "fpu",            0x1 0 Edx 0  [FPU FPU287 FPU387];
    Vme        "vme",            0x1 0 Edx 1  [];
    De         "de",             0x1 0 Edx 2  [];
    Pse        "pse",            0x1 0 Edx 3  [];
    Tsc        "tsc",            0x1 0 Edx 4  [TSC];
    Msr        "msr",            0x1 0 Edx 5  [MSR];
    Pae        "pae",            0x1 0 Edx 6  [];
    Mce        "mce",            0x1 0 Edx 7  [];
    Cx8        "cx8",            0x1 0 Edx 8  [CX8];
    Apic       "apic",           0x1 0 Edx 9  [];
    Sep        "sep",            0x1 0 Edx 11 [SEP];
    Mtrr       "mtrr",           0x1 0 Edx 12 [];
    Pge        "pge",            0x1 0 Edx 13 [];
    Mca        "mca",            0x1 0 Edx 14 [];
    Cmov       "cmov",           0x1 0 Edx 15 [CMOV];
    Pat        "pat",            0x1 0 Edx 16 [];
    Pse36      "pse36",          0x1 0 Edx 17 [];
    Clflush    "clflush" | "clfsh", 0x1 0 Edx 19 [CLFSH];
    Mmx        "mmx",            0x1 0 Edx 23 [MMX];
    Fxsr       "fxsr",           0x1 0 Edx 24 [FXSR];
    Sse        "sse",            0x1 0 Edx 25 [SSE];
    Sse2       "sse2",           0x1 0 Edx 26 [SSE2];
    Ss         "ss",             0x1 0 Edx 27 [];
    Sse3       "sse3" | "pni",   0x1 0 Ecx 0  [SSE3];
    Pclmulqdq  "pclmulqdq" | "pclmuldq", 0x1 0 Ecx 1 [PCLMULQDQ];
    Monitor    "monitor",        0x1 0 Ecx 3  [MONITOR];
    Ssse3      "ssse3",          0x1 0 Ecx 9  [SSSE3];
    Fma        "fma",            0x1 0 Ecx 12 [FMA];
    Cx16       "cx16",           0x1 0 Ecx 13 [CMPXCHG16B];
    Pcid       "pcid",           0x1 0 Ecx 17 [];
    Sse41      "sse4.1" | "sse4-1", 0x1 0 Ecx 19 [SSE4_1];
    Sse42      "sse4.2" | "sse4-2", 0x1 0 Ecx 20 [SSE4_2];
    X2apic     "x2apic",         0x1 0 Ecx 21 [];
    Movbe      "movbe",          0x1 0 Ecx 22 [MOVBE];
    Popcnt     "popcnt",         0x1 0 Ecx 23 [POPCNT];
    TscDeadline "tsc-deadline",  0x1 0 Ecx 24 [];
    Aes        "aes",            0x1 0 Ecx 25 [AES];
    Xsave      "xsave",          0x1 0 Ecx 26 [XSAVE];
    Avx        "avx",            0x1 0 Ecx 28 [AVX];
    F16c       "f16c",           0x1 0 Ecx 29 [F16C];
    Rdrand     "rdrand",         0x1 0 Ecx 30 [RDRAND];
    Hypervisor "hypervisor",     0x1 0 Ecx 31 [];
    Fsgsbase   "fsgsbase",       0x7 0 Ebx 0  [FSGSBASE];
    TscAdjust  "tsc-adjust",     0x7 0 Ebx 1  [];
    Bmi1       "bmi1",           0x7 0 Ebx 3  [BMI1];
    Avx2       "avx2",           0x7 0 Ebx 5  [AVX2];
    Smep       "smep",           0x7 0 Ebx 7  [];
    Bmi2       "bmi2",           0x7 0 Ebx 8  [BMI2];
    Erms       "erms",           0x7 0 Ebx 9  [];
    Invpcid    "invpcid",        0x7 0 Ebx 10 [INVPCID];
    Rdseed     "rdseed",         0x7 0 Ebx 18 [RDSEED];
    Adx        "adx",            0x7 0 Ebx 19 [ADX];
    Smap       "smap",           0x7 0 Ebx 20 [SMAP];
    Clflushopt "clflushopt",     0x7 0 Ebx 23 [CLFLUSHOPT];
    Clwb       "clwb",           0x7 0 Ebx 24 [CLWB];
    Sha        "sha-ni" | "sha", 0x7 0 Ebx 29 [SHA];
    Umip       "umip",           0x7 0 Ecx 2  [];
    Pku        "pku",            0x7 0 Ecx 3  [PKU];
    Gfni       "gfni",           0x7 0 Ecx 8  [GFNI];
    Vaes       "vaes",           0x7 0 Ecx 9  [VAES];
    Vpclmulqdq "vpclmulqdq",     0x7 0 Ecx 10 [VPCLMULQDQ];
    La57       "la57",           0x7 0 Ecx 16 [];
    Rdpid      "rdpid",          0x7 0 Ecx 22 [RDPID];
    Pks        "pks",            0x7 0 Ecx 31 [];
    Fsrm       "fsrm",           0x7 0 Edx 4  [];
    Serialize  "serialize",      0x7 0 Edx 14 [SERIALIZE];
    SpecCtrl   "spec-ctrl",      0x7 0 Edx 26 [];
    ArchCaps   "arch-capabilities", 0x7 0 Edx 29 [];
    Xsaveopt   "xsaveopt",       0xd 1 Eax 0  [XSAVEOPT];
    Xsavec     "xsavec",         0xd 1 Eax 1  [XSAVEC];
    Xgetbv1    "xgetbv1",        0xd 1 Eax 2  [];
    Xsaves     "xsaves",         0xd 1 Eax 3  [XSAVES];
    Arat       "arat",           0x6 0 Eax 2  [];
    Syscall    "syscall",        0x80000001 0 Edx 11 [SYSCALL];
    Nx         "nx",             0x80000001 0 Edx 20 [];
    Mmxext     "mmxext",         0x80000001 0 Edx 22 [];
    FxsrOpt    "fxsr-opt" | "ffxsr", 0x80000001 0 Edx 25 [];
    Pdpe1gb    "pdpe1gb",        0x80000001 0 Edx 26 [];
    Rdtscp     "rdtscp",         0x80000001 0 Edx 27 [RDTSCP];
    Lm         "lm" | "i64",     0x80000001 0 Edx 29 [X64];
    LahfLm     "lahf-lm",        0x80000001 0 Ecx 0  [];
    CmpLegacy  "cmp-legacy",     0x80000001 0 Ecx 1  [];
    Cr8Legacy  "cr8legacy",      0x80000001 0 Ecx 4  [];
    Abm        "abm" | "lzcnt",  0x80000001 0 Ecx 5  [LZCNT];
    Sse4a      "sse4a",          0x80000001 0 Ecx 6  [SSE4A];
    Misalign   "misalignsse",    0x80000001 0 Ecx 7  [];
    Prefetchw  "3dnowprefetch",  0x80000001 0 Ecx 8  [PREFETCHW];
    Clzero     "clzero",         0x80000008 0 Ebx 0  [CLZERO];
    Rdpru      "rdpru",          0x80000008 0 Ebx 4  [RDPRU];
    Wbnoinvd   "wbnoinvd",       0x80000008 0 Ebx 9  [WBNOINVD];
    InvTsc     "invtsc",         0x80000007 0 Edx 8  [];
    NullBase   "null-sel-clr-base", 0x80000021 0 Eax 6 [];
}

impl Feature {
    pub fn bit(self) -> u128 {
        1 << self as u32
    }
}

/// The first is nothing without the second.
pub const NEEDS: &[(Feature, Feature)] = {
    use Feature::*;
    &[
        (Sse, Fxsr),
        (Sse2, Sse),
        (Sse3, Sse2),
        (Avx, Xsave),
        (Avx2, Avx),
        (Fma, Avx),
        (F16c, Avx),
        (Vaes, Avx),
        (Vpclmulqdq, Avx),
        (Xsaveopt, Xsave),
        (Xsavec, Xsave),
        (Xgetbv1, Xsave),
        (Xsaves, Xsavec),
        (Mca, Mce),
    ]
};

pub fn find(name: &str) -> Option<Feature> {
    TABLE.iter().find(|r| r.names.contains(&name)).map(|r| r.feature)
}
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|r| r.names[0])
}

/// What every core has, whatever its model.
const ALWAYS: &[CpuidFeature] = {
    use CpuidFeature::*;
    &[
        INTEL8086,
        INTEL186,
        INTEL286,
        INTEL386,
        INTEL486,
        CPUID,
        MULTIBYTENOP,
        PAUSE,
        RDPMC,
        SMM,
        FPU287,
    ]
};

/// iced-x86's names for the features that `has` says are there.
pub fn features(has: impl Fn(Feature) -> bool) -> Features {
    let mut all = Features::none();
    for &f in ALWAYS {
        all = all.with(f);
    }
    for row in TABLE.iter().filter(|r| has(r.feature)) {
        for &f in row.needed_by {
            all = all.with(f);
        }
    }
    // Instructions on MMX registers that came with SSE are there with either name.
    if has(Feature::Mmxext) || has(Feature::Sse) {
        all = all.with(CpuidFeature::MMX);
    }
    all
}

/// The bits of one register of a leaf.
pub fn bits(has: impl Fn(Feature) -> bool, leaf: u32, sub: u32, reg: Reg) -> u32 {
    TABLE
        .iter()
        .filter(|r| r.leaf == leaf && r.sub == sub && r.reg == reg && has(r.feature))
        .fold(0, |all, r| all | 1 << r.bit)
}
