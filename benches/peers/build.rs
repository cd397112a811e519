//! Finds liburcu and DPDK by pkg-config and compiles the shims of those that are there. Without them the crate builds all
//! the same, and the run says what it leaves out.

use std::process::Command;

/// A library, and what of it is linked: DPDK's pkg-config file names all of its libraries.
struct Library {
    package: &'static str,
    least: &'static str,
    name: &'static str,
    cfg: &'static str,
    shim: &'static str,
    links: &'static [&'static str],
    /// As its pkg-config file has them. (The least processor that DPDK runs on; its hash is by instructions for CRC32.)
    flags: &'static [&'static str],
}

const LIBRARIES: [Library; 2] = [
    Library {
        package: "liburcu-cds",
        least: "0.12",
        name: "liburcu",
        cfg: "has_urcu",
        shim: "rculfhash",
        links: &["urcu-cds", "urcu-qsbr", "urcu-common"],
        flags: &[],
    },
    Library {
        package: "libdpdk",
        least: "21.11",
        name: "DPDK",
        cfg: "has_dpdk",
        shim: "rte_hash",
        links: &["rte_hash", "rte_rcu", "rte_ring", "rte_eal"],
        flags: &["-march=corei7", "-include", "rte_config.h"],
    },
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut versions = String::new();
    for library in &LIBRARIES {
        println!("cargo::rustc-check-cfg=cfg({})", library.cfg);
        println!("cargo::rerun-if-changed=c/{}.c", library.shim);
        match build(library) {
            Ok(version) => {
                println!("cargo::rustc-cfg={}", library.cfg);
                versions += &format!(", {} {version}", library.name);
            }
            Err(why) => println!("cargo::warning={} is left out: {why}", library.name),
        }
    }
    println!("cargo::rustc-env=PEERS_LIBRARIES={versions}");
    // A library that is installed later is found then.
    let path = Command::new("pkg-config").args(["--variable", "pc_path", "pkg-config"]).output();
    let path =
        path.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    for folder in path.split(':').filter(|folder| std::path::Path::new(folder).is_dir()) {
        println!("cargo::rerun-if-changed={folder}");
    }
}

/// Compiles and links; the version, or why not.
fn build(library: &Library) -> Result<String, &'static str> {
    let mut config = pkg_config::Config::new();
    config.atleast_version(library.least).cargo_metadata(false).env_metadata(false);
    let found = config.probe(library.package).map_err(|_| "pkg-config does not find it")?;
    let mut build = cc::Build::new();
    build.file(format!("c/{}.c", library.shim)).includes(&found.include_paths).opt_level(3);
    for flag in library.flags {
        build.flag(flag);
    }
    build.try_compile(&format!("peers_{}", library.shim)).map_err(|_| "its shim does not compile")?;
    for path in &found.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    // Behind the shim: a linker takes them in order.
    for link in library.links {
        println!("cargo::rustc-link-lib=dylib={link}");
    }
    Ok(found.version)
}
