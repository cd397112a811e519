//! The command: see README.md.

use std::process::{Command, Stdio};

use clap::Parser;
use conntab_peers::run::{self, Plan, Run, WORKLOADS};

/// For the maps of Rust; C libraries have their own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// conntab's table side by side with other concurrent tables and with yardsticks. CSV on stdout.
#[derive(Parser)]
#[command(name = "peers")]
struct Args {
    /// 10 M flows, hits and misses alone
    #[arg(long)]
    quick: bool,
    /// Structures (yardsticks are always there) [default: all]
    #[arg(long, value_delimiter = ',')]
    structures: Vec<String>,
    /// Numbers of flows, such as 10k,1M
    #[arg(long, value_delimiter = ',', value_parser = conntab_bench::size, default_value = "10k,1M,10M")]
    flows: Vec<usize>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Workloads [default: all]
    #[arg(long, value_delimiter = ',', value_parser = WORKLOADS)]
    workloads: Vec<String>,
    /// Samples of each row [default: 7, quick 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Samples of each row of insert and insert-grow
    #[arg(long, default_value_t = 3)]
    fill_rounds: usize,
    /// Turnovers of conntab's tables before they are measured
    #[arg(long)]
    turnovers: Option<usize>,
    /// Operations of a sample in each thread
    #[arg(long, value_parser = conntab_bench::size, default_value = "1M")]
    ops: usize,
    /// Bytes that structures may take together, such as 16000M [default: what is left]
    #[arg(long, value_parser = conntab_bench::size)]
    memory: Option<usize>,
    /// Fill one structure and print the bytes that became resident
    #[arg(long, hide = true)]
    resident: Option<String>,
}

/// The allocator takes huge pages where it can, and keeps what it has: a map that is filled again meets no page faults.
fn set_allocator() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    for (option, value) in [(libmimalloc_sys::mi_option_large_os_pages, 1), (PURGE_DELAY, -1)] {
        // SAFETY: options of numbers, which may be set at any time; they hold for what is allocated from then on.
        unsafe { libmimalloc_sys::mi_option_set(option, value) };
    }
}

/// What a structure takes, in a process of its own.
fn resident(name: &str, flows: usize) -> Result<usize, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--resident", name, "--flows", &flows.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("no answer: {}", output.status))
}

/// The versions of what is compared, and the machine.
fn heading() -> Vec<String> {
    let lock = include_str!("../../../Cargo.lock");
    let version = |name: &str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let rest = lock.split_once(&entry).map_or("?", |(_, rest)| rest);
        format!("{name} {}", rest.split('"').next().unwrap_or("?"))
    };
    let crates = ["conntab", "papaya", "scc", "dashmap", "ahash", "mimalloc"].map(version).join(", ");
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    vec![
        format!(
            "{}, {} processors, Linux {}",
            model.trim_start_matches([' ', '\t', ':']),
            std::thread::available_parallelism().map_or(1, usize::from),
            read("/proc/sys/kernel/osrelease").trim(),
        ),
        format!("transparent huge pages: {}", read("/sys/kernel/mm/transparent_hugepage/enabled").trim()),
        format!("{crates}{}", option_env!("PEERS_LIBRARIES").unwrap_or("")),
        "CPU time of the threads; min, median, max over the rounds; definitions in benches/peers/README.md"
            .to_owned(),
    ]
}

fn main() {
    set_allocator();
    let mut args = Args::parse();
    if let Some(name) = &args.resident {
        match run::resident(name, args.flows[0]) {
            Ok(bytes) => println!("{bytes}"),
            Err(why) => eprintln!("{name}: {why}"),
        }
        return;
    }
    if args.quick {
        args.flows = vec![10_000_000];
        args.workloads = ["single-hit", "burst32-hit", "burst32-miss"].map(str::to_owned).to_vec();
    }
    let makers = conntab_peers::makers();
    let known: Vec<_> = makers.iter().flat_map(|maker| maker.names()).collect();
    if let Some(unknown) = args.structures.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("no structure is called '{unknown}'; there are: {}", known.join(" "));
        std::process::exit(2);
    }
    for line in heading() {
        println!("# {line}");
    }
    let plan = Plan {
        structures: args.structures,
        flows: args.flows,
        threads: args.threads,
        workloads: args.workloads,
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 7 }),
        fill_rounds: args.fill_rounds,
        turnovers: args.turnovers,
        ops: args.ops,
        memory: args.memory,
    };
    Run::new(&plan, &resident).run(&mut |line| println!("{line}"));
}
