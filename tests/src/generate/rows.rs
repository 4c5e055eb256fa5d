//! Which instructions are generated, and what the generator must know of each.

use crate::mode::Mode;
use iced_x86::{Code, CpuidFeature, EncodingKind, FlowControl, MandatoryPrefix, Mnemonic};
use iced_x86::{OpCodeInfo, OpCodeOperandKind as Kind};

/// One `Code` that the generator can make.
#[derive(Clone, Copy)]
pub struct Row {
    pub code: Code,
    pub mnemonic: Mnemonic,
    pub op: &'static OpCodeInfo,
    /// Changes RIP.
    pub branches: bool,
    /// Not VEX.
    pub legacy: bool,
    /// F2 and F3 have no meaning for it.
    pub free_rep: bool,
}

/// The features of user mode that we test; a `Code` needs all of its features to be here.
/// Each with the name that the standard library has for it, if it is not in every x86-64 CPU.
#[rustfmt::skip]
const FEATURES: &[(CpuidFeature, &str)] = &[
    (CpuidFeature::INTEL8086,  ""),       (CpuidFeature::INTEL186, ""),
    (CpuidFeature::INTEL286,   ""),       (CpuidFeature::INTEL386, ""),
    (CpuidFeature::INTEL486,   ""),       (CpuidFeature::X64,      ""),
    (CpuidFeature::CMOV,       ""),       (CpuidFeature::CX8,      ""),
    (CpuidFeature::FPU,        ""),       (CpuidFeature::FPU287,   ""),
    (CpuidFeature::FPU387,     ""),       (CpuidFeature::MMX,      ""),
    (CpuidFeature::MULTIBYTENOP, ""),     (CpuidFeature::PAUSE,    ""),
    (CpuidFeature::SSE,        ""),       (CpuidFeature::SSE2,     ""),
    (CpuidFeature::SSE3,       "sse3"),   (CpuidFeature::SSSE3,    "ssse3"),
    (CpuidFeature::SSE4_1,     "sse4.1"), (CpuidFeature::SSE4_2,   "sse4.2"),
    (CpuidFeature::CMPXCHG16B, "cmpxchg16b"),
    (CpuidFeature::POPCNT,     "popcnt"), (CpuidFeature::LZCNT,    "lzcnt"),
    (CpuidFeature::BMI1,       "bmi1"),   (CpuidFeature::BMI2,     "bmi2"),
    (CpuidFeature::ADX,        "adx"),    (CpuidFeature::MOVBE,    "movbe"),
    (CpuidFeature::AES,        "aes"),    (CpuidFeature::PCLMULQDQ, "pclmulqdq"),
    (CpuidFeature::SHA,        "sha"),    (CpuidFeature::GFNI,     "gfni"),
    (CpuidFeature::F16C,       "f16c"),   (CpuidFeature::FMA,      "fma"),
    (CpuidFeature::AVX,        "avx"),    (CpuidFeature::AVX2,     "avx2"),
    (CpuidFeature::VAES,       "vaes"),   (CpuidFeature::VPCLMULQDQ, "vpclmulqdq"),
];

/// Not generated: what depends on the machine around the core (time, segments, descriptor
/// tables, random numbers, feature words), what enters the kernel, save areas with reserved
/// bytes, and old names for nothing.
#[rustfmt::skip]
const LEFT_OUT: &[Mnemonic] = &[
    Mnemonic::Syscall, Mnemonic::Sysenter, Mnemonic::Sysexit, Mnemonic::Sysret, Mnemonic::Sysexitq,
    Mnemonic::Sysretq, Mnemonic::Cpuid, Mnemonic::Sgdt, Mnemonic::Sidt, Mnemonic::Sldt, Mnemonic::Str, Mnemonic::Smsw,
    Mnemonic::Lfs, Mnemonic::Lgs, Mnemonic::Retf, Mnemonic::Iret, Mnemonic::Iretd,
    Mnemonic::Iretq, Mnemonic::Int, Mnemonic::Int1, Mnemonic::Int3, Mnemonic::Cli,
    Mnemonic::Sti, Mnemonic::Fnsetpm, Mnemonic::Fsetpm, Mnemonic::Fndisi, Mnemonic::Fneni,
    Mnemonic::Fdisi, Mnemonic::Feni, Mnemonic::Fstdw, Mnemonic::Fstsg, Mnemonic::Frstpm,
    Mnemonic::Hlt, Mnemonic::In, Mnemonic::Out, Mnemonic::Loadall, Mnemonic::Umov,
];

/// Not in 64-bit code either: there the columns have no descriptors.
const IN_64: &[Mnemonic] =
    &[Mnemonic::Lar, Mnemonic::Lsl, Mnemonic::Verr, Mnemonic::Verw, Mnemonic::Lss];

/// All rows of 64-bit code whose instructions this host can run (`host`), or all rows.
pub fn rows(host: bool) -> Vec<Row> {
    rows_of(Mode::Bits64, host)
}

/// The rows of code of some size.
pub fn rows_of(mode: Mode, host: bool) -> Vec<Row> {
    Code::values().filter_map(|c| row(mode, c)).filter(|r| !host || on_host(r)).collect()
}

fn row(mode: Mode, code: Code) -> Option<Row> {
    let op = code.op_code();
    let m = code.mnemonic();
    let vex = op.encoding() == EncodingKind::VEX;
    let wanted = op.is_instruction()
        && op.is_available_in_mode(mode.bits())
        && match mode {
            Mode::Bits64 => op.intel_decoder64(),
            Mode::Bits32 => op.intel_decoder32(),
            Mode::Bits16 => op.intel_decoder16(),
        }
        && op.decoder_option() == 0
        && (vex || op.encoding() == EncodingKind::Legacy)
        && !(op.is_privileged() || op.must_be_cpl0() || op.is_input_output())
        && !op.is_reserved_nop()
        && !op.fwait()
        && !LEFT_OUT.contains(&m)
        && (!mode.is_64() || !IN_64.contains(&m))
        && code.cpuid_features().iter().all(|f| FEATURES.iter().any(|(x, _)| x == f))
        && op.op_kinds().iter().all(|k| kind_is_made(*k, uses_segment(mode, code)))
        && (!format!("{:?}", op.memory_size()).starts_with("SegPtr")
            || matches!(m, Mnemonic::Les | Mnemonic::Lds | Mnemonic::Lss));
    let flow = code.flow_control();
    let interrupt = flow == FlowControl::Interrupt && m != Mnemonic::Into;
    if !wanted || interrupt || flow == FlowControl::XbeginXabortXend {
        return None;
    }
    let string = op.can_use_rep_prefix() || op.can_use_repne_prefix();
    let branches = !matches!(flow, FlowControl::Next | FlowControl::Exception);
    let plain = op.mandatory_prefix() == MandatoryPrefix::None;
    let free_rep = !vex && plain && !string && !branches && m != Mnemonic::Nop;
    Some(Row { code, mnemonic: m, op, branches, legacy: !vex, free_rep })
}

/// Segment registers are read, and written where the columns have descriptors. FS and GS, which the harness needs, are
/// never written.
fn uses_segment(mode: Mode, code: Code) -> bool {
    let written = match code {
        Code::Popw_FS | Code::Popd_FS | Code::Popw_GS | Code::Popd_GS => false,
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 => !mode.is_64(),
        _ => code.mnemonic() == Mnemonic::Pop && !mode.is_64(),
    };
    written
        || code.mnemonic() == Mnemonic::Push
        || matches!(code, Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg)
}

fn kind_is_made(k: Kind, segments: bool) -> bool {
    let segment = matches!(
        k,
        Kind::seg_reg | Kind::es | Kind::cs | Kind::ss | Kind::ds | Kind::fs | Kind::gs
    );
    (segments || !segment)
        && !matches!(
            k,
            Kind::cr_reg
                | Kind::dr_reg
                | Kind::tr_reg
                | Kind::farbr2_2
                | Kind::farbr4_2
                | Kind::xbegin_2
                | Kind::xbegin_4
        )
}

#[cfg(target_arch = "x86_64")]
macro_rules! detect {
    ($name:expr; $($f:tt)*) => {
        match $name {
            "" => true,
            $($f => is_x86_feature_detected!($f),)*
            other => panic!("{other}: no such host feature in the table"),
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn on_host(r: &Row) -> bool {
    r.code.cpuid_features().iter().all(|f| {
        let (_, name) = FEATURES.iter().find(|(x, _)| x == f).expect("row() has looked it up");
        detect!(*name; "sse3" "ssse3" "sse4.1" "sse4.2" "cmpxchg16b" "popcnt" "lzcnt" "bmi1" "bmi2"
            "adx" "movbe" "aes" "pclmulqdq" "sha" "gfni" "f16c" "fma" "avx" "avx2" "vaes"
            "vpclmulqdq")
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn on_host(_: &Row) -> bool {
    false
}
