//! The mirror of Debian's packages that this machine's apt uses, and packages from it.

use super::{Scratch, quiet};
use crate::shell::output;
use anyhow::{Context, Result, bail};
use boot_tests::place;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Debian 12.
pub const SUITE: &str = "bookworm";

/// Its address, as apt has it.
pub fn find() -> Result<String> {
    if place::program("apt-get").is_none() {
        bail!("there is no apt-get here: this needs Debian, or a system derived from it");
    }
    let format = "$(REPO_URI) $(CODENAME) $(ORIGIN)";
    let mut command = Command::new("apt-get");
    let text = output(command.args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    choose(&text).with_context(|| {
        format!("apt has no mirror of Debian among its sources; add one of {SUITE} to them")
    })
}

/// From lines of address, code name and origin. The last two are known only after `apt-get update`; but the address of a
/// mirror ends in `debian` as a rule.
fn choose(targets: &str) -> Option<String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.trim_end_matches('/').to_owned();
        let (codename, origin) = (words.next().unwrap_or(""), words.collect::<Vec<_>>().join(" "));
        let named = address.rsplit('/').next() == Some("debian");
        let rank = match (codename == SUITE, origin == "Debian", named) {
            (true, true, _) => 0,
            (_, _, true) => 1,
            (_, true, _) if !address.contains("security") => 2,
            _ => return None,
        };
        Some((rank, address))
    };
    let found = targets.lines().filter_map(row).min_by_key(|(rank, _)| *rank)?;
    Some(found.1)
}

/// Options of this machine's apt that another one needs to reach the same mirror.
pub fn options() -> Result<Vec<String>> {
    let text = output(Command::new("apt-config").arg("dump"))?;
    let names = ["Acquire::http::", "Acquire::https::", "Acquire::Check-"];
    let wanted = |l: &&str| names.iter().any(|n| l.starts_with(n)) && !l.contains(" \"\"");
    Ok(text.lines().filter(wanted).map(|l| l.trim_end_matches(';').to_owned()).collect())
}

/// Unpacks a package, without installing it, and gives it to `use_it` as a directory. If the system's lists do not know
/// it, lists of our own are fetched from the mirror.
pub fn unpack(package: &str, use_it: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    println!("downloading {package}");
    let work = Scratch::new(package)?;
    let dir = &work.0;
    // Backports would do, but the stable version is the same on all machines.
    let exact = format!("{package}/{SUITE}");
    if download(dir, &[], &exact).is_err() {
        let private = lists(dir).with_context(|| format!("getting {package}"))?;
        download(dir, &private, package).with_context(|| format!("getting {package}"))?;
    }
    let deb = fs::read_dir(dir)?.flatten().map(|e| e.path());
    let deb = deb.into_iter().find(|p| p.extension().is_some_and(|e| e == "deb"));
    let deb = deb.with_context(|| format!("apt-get download {package} left no .deb file"))?;
    let files = dir.join("files");
    quiet(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&files))?;
    use_it(&files)
}

fn apt(options: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").args(["-q", "-o", "APT::Architecture=amd64"]);
    command.args(["-o", "APT::Sandbox::User=root"]);
    command.args(options.iter().flat_map(|o| ["-o", o]));
    command
}

fn download(dir: &Path, options: &[String], package: &str) -> Result<()> {
    quiet(apt(options).args(["download", package]).current_dir(dir)).map(drop)
}

/// Package lists of Debian 12 alone, in `dir`.
fn lists(dir: &Path) -> Result<Vec<String>> {
    let mirror = find()?;
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let signed =
        if Path::new(keys).is_file() { format!("[signed-by={keys}] ") } else { String::new() };
    let (lists, sources) = (dir.join("lists"), dir.join("sources.list"));
    fs::create_dir_all(lists.join("partial"))?;
    fs::write(&sources, format!("deb {signed}{mirror} {SUITE} main\n"))?;
    let options = vec![
        format!("Dir::State::Lists={}", lists.display()),
        format!("Dir::Cache={}", dir.display()),
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        "APT::Default-Release=".to_owned(),
    ];
    fs::create_dir_all(dir.join("archives/partial"))?;
    quiet(apt(&options).arg("update"))?;
    Ok(options)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn debian_12_itself_is_preferred_to_other_suites() {
        let targets = "http://mirror.example/debian/ bookworm-backports Debian Backports\n\
                       http://mirror.example/debian-security/ bookworm-security Debian\n\
                       http://other.example/pub/debian-main/ bookworm Debian\n";
        assert_eq!(choose(targets).as_deref(), Some("http://other.example/pub/debian-main"));
    }

    #[test]
    fn before_the_first_update_the_address_tells() {
        let targets = "http://mirror.example/debian-security/  \nhttp://mirror.example/debian/  \n";
        assert_eq!(choose(targets).as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(choose("http://mirror.example/ubuntu/ jammy Ubuntu\n"), None);
        assert_eq!(choose(""), None);
    }
}
