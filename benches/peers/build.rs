//! Finds liburcu and DPDK by pkg-config and compiles the shims of those that are there. Without them the crate builds all
//! the same, and the run says what it leaves out.

fn main() {
    for (library, least, cfg, shim) in [
        ("liburcu-cds", "0.13", "has_urcu", "c/rculfhash.c"),
        ("libdpdk", "21.11", "has_dpdk", "c/rte_hash.c"),
    ] {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        println!("cargo::rerun-if-changed={shim}");
        // The link lines come after the shim's: a linker takes them in order.
        let mut config = pkg_config::Config::new();
        let Ok(found) = config.atleast_version(least).cargo_metadata(false).probe(library) else { continue };
        let mut build = cc::Build::new();
        build.file(shim).includes(&found.include_paths).opt_level(3).warnings(false);
        if library == "libdpdk" {
            // As pkg-config has it: the hash by CRC32 instructions, which every processor has that DPDK runs on.
            build.flag("-march=corei7").flag("-include").flag("rte_config.h");
        }
        let shim = shim.trim_start_matches("c/").trim_end_matches(".c");
        if build.try_compile(&format!("peers_{shim}")).is_err() {
            println!("cargo::warning={library} was found, but its shim does not compile: left out");
            continue;
        }
        for path in &found.link_paths {
            println!("cargo::rustc-link-search=native={}", path.display());
        }
        let used = ["urcu-cds", "urcu-qsbr", "urcu-common", "rte_hash", "rte_rcu", "rte_ring", "rte_eal"];
        let more: &[&str] = if library == "liburcu-cds" { &["urcu-qsbr"] } else { &[] };
        for name in found.libs.iter().map(String::as_str).chain(more.iter().copied()) {
            if used.contains(&name) {
                println!("cargo::rustc-link-lib=dylib={name}");
            }
        }
        println!("cargo::rustc-cfg={cfg}");
    }
}
