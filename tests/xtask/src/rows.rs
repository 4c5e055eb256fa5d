//! `cargo xtask rows`: which of iced-x86's instructions have a meaning, by CPUID feature.
//!
//! What `-cpu max` advertises must be there: one that is missing makes this fail.

use anyhow::Result;
use std::process::ExitCode;

/// Builds ourselves again with the emulator's tables.
#[cfg(not(feature = "rows"))]
pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut command = crate::shell::cargo();
    command.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "xtask",
        "--features",
        "rows",
        "--",
        "rows",
    ]);
    Ok(crate::shell::status(crate::shell::good(command.args(args))?))
}

#[cfg(feature = "rows")]
pub use with_tables::run;

#[cfg(feature = "rows")]
mod with_tables {
    use super::{ExitCode, Result};
    use crate::shell::{flag, no_more, status};
    use iced_x86::{Code, CpuidFeature, Mnemonic};
    use std::collections::{BTreeMap, BTreeSet};

    /// Of a group of features that an instruction needs together.
    #[derive(Default)]
    struct Group {
        done: BTreeSet<String>,
        missing: BTreeSet<String>,
        advertised: bool,
    }

    pub fn run(args: &[String]) -> Result<ExitCode> {
        let mut words = args.to_vec();
        let only_missing = flag(&mut words, "--missing");
        no_more(&words)?;
        let groups = groups();
        println!("{:34} {:>5} {:>5}  -cpu max", "feature", "done", "all");
        let (mut done, mut all, mut lacking) = (0, 0, 0);
        for (name, group) in &groups {
            let (have, lack) = (group.done.len(), group.missing.len());
            done += have;
            all += have + lack;
            if group.advertised {
                lacking += lack;
            }
            if only_missing && (lack == 0 || !group.advertised) {
                continue;
            }
            let offered = if group.advertised { "yes" } else { "-" };
            println!("{name:34} {have:5} {:5}  {offered}", have + lack);
            if group.advertised && lack > 0 {
                let list: Vec<_> = group.missing.iter().map(String::as_str).collect();
                println!("    MISSING: {}", list.join(" "));
            }
        }
        println!(
            "rows: {done} of {all} instructions have a meaning; {lacking} advertised ones are missing"
        );
        Ok(status(lacking == 0))
    }

    /// A group for each set of features; an instruction stands in each group that one of its forms needs.
    fn groups() -> BTreeMap<String, Group> {
        let max = cpu::big::cpuid::Model::max().features();
        let mut groups = BTreeMap::<String, Group>::new();
        for code in Code::values().filter(|c| is_instruction(*c)) {
            let features = code.cpuid_features();
            let name: Vec<_> = features.iter().map(|f| format!("{f:?}")).collect();
            let group = groups.entry(name.join("+")).or_default();
            group.advertised = features.iter().all(|f| max.has(*f));
            let (mnemonic, text) =
                (code.mnemonic(), format!("{:?}", code.mnemonic()).to_lowercase());
            if cpu::rows::number(mnemonic) != 0 {
                group.done.insert(text);
            } else {
                group.missing.insert(text);
            }
        }
        groups
    }

    /// Not data declarations, nothing that only other processors than those for PCs have, not two instructions under one
    /// name (those with FWAIT), and not what is to be #UD anyhow (RSM is, outside system-management mode).
    fn is_instruction(code: Code) -> bool {
        let data = [Mnemonic::INVALID, Mnemonic::Db, Mnemonic::Dw, Mnemonic::Dd, Mnemonic::Dq];
        let info = code.op_code();
        let other = [CpuidFeature::KNC, CpuidFeature::CYRIX_FPU, CpuidFeature::CYRIX_SMM];
        let undefined = [Mnemonic::Ud0, Mnemonic::Ud1, Mnemonic::Ud2, Mnemonic::Rsm];
        info.is_instruction()
            && !info.fwait()
            && !undefined.contains(&code.mnemonic())
            && !data.contains(&code.mnemonic())
            && !code.cpuid_features().iter().any(|f| other.contains(f))
    }
}
