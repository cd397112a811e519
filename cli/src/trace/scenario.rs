//! A scenario, read from its file.

use conntab::DefragConfig;
use conntab::timeout::Tunables;
use serde_json::{Map, Value};

use super::Problem;
use super::rules::Host;
use super::value::{array, bytes, named, number, object, string};

/// What may stand in the head of a file.
const HEAD: &[&str] = &["name", "about", "area", "random", "source", "kernel", "config", "steps"];

/// What may stand in a step: what it does, then what was seen (which is passed over).
const STEP: &[&str] = &[
    "in", "packet", "wait_ms", "note", "sysctl", "nft", "host", "t_ms", "verdict", "table", "expect",
    "events",
];

/// Settings that decide nothing that is recorded.
const WITHOUT_EFFECT: &[&str] = &["events_retry_timeout", "timestamp", "expect_max", "frag6_low_thresh"];

/// The router's own setting: what is logged.
pub(super) const LOG_INVALID: &str = "log_invalid";

const PREFIX: &str = "net.netfilter.nf_conntrack_";

/// The longest packet that fits through the router's interfaces.
pub(super) const MTU: usize = 1600;

/// The most time that a scenario may take: 30 years and more.
const MAX_TIME: u64 = 1_000_000_000_000;

pub(super) struct Scenario {
    /// As it stood in the file.
    pub head: Map<String, Value>,
    pub setup: Setup,
    pub steps: Vec<Step>,
}

/// Settings and rules, at the beginning or in the middle.
#[derive(Default)]
pub(super) struct Setup {
    pub host: Host,
    pub sysctl: Vec<Setting>,
}

pub(super) struct Setting {
    pub name: String,
    pub value: u32,
}

pub(super) struct Step {
    /// What it does, as it stood in the file.
    pub fields: Map<String, Value>,
    pub wait: u64,
    pub setup: Setup,
    pub packet: Option<Arrival>,
}

/// A packet from one side.
pub(super) struct Arrival {
    pub side: u8,
    pub bytes: Vec<u8>,
}

pub(super) fn parse(text: &[u8]) -> Result<Scenario, Problem> {
    let whole = |what| Problem { step: None, what };
    let file: Value = serde_json::from_slice(text).map_err(|e| whole(format!("not JSON: {e}")))?;
    let (setup, steps) = head(&file).map_err(whole)?;
    let mut time = 0;
    let steps = steps
        .iter()
        .enumerate()
        .map(|(at, value)| step(value, &mut time).map_err(|what| Problem { step: Some(at), what }));
    let steps = steps.collect::<Result<_, _>>()?;
    let mut head = match file {
        Value::Object(head) => head,
        _ => Map::new(),
    };
    head.remove("steps");
    Ok(Scenario { head, setup, steps })
}

fn head(file: &Value) -> Result<(Setup, &[Value]), String> {
    let head = object(file, "a scenario")?;
    known(head, HEAD)?;
    for name in ["name", "about", "area"] {
        if let Some(value) = head.get(name) {
            string(value, name)?;
        }
    }
    let steps = head.get("steps").ok_or("it has no steps")?;
    let mut setup = Setup::default();
    if let Some(config) = head.get("config") {
        let config = object(config, "config")?;
        known(config, &["sysctl", "nft", "host"])?;
        setup = read_setup(config, "config.")?;
    }
    Ok((setup, array(steps, "steps")?))
}

fn step(value: &Value, time: &mut u64) -> Result<Step, String> {
    let fields = object(value, "a step")?;
    known(fields, STEP)?;
    let wait = fields.get("wait_ms").map_or(Ok(0), |wait| number(wait, "wait_ms", MAX_TIME))?;
    *time += wait;
    if *time > MAX_TIME {
        return Err(format!("all waits together are no more than {MAX_TIME} ms"));
    }
    let packet = match (fields.get("in"), fields.get("packet")) {
        (None, None) => None,
        (Some(side), Some(packet)) => {
            let side = number(side, "in", 1)? as u8;
            let bytes = bytes(packet, "packet")?;
            if bytes.len() > MTU {
                return Err(format!("a packet of {} bytes does not fit: the MTU is {MTU}", bytes.len()));
            }
            Some(Arrival { side, bytes })
        }
        (None, Some(_)) => return Err("a packet, but not the side it comes in from ('in')".to_owned()),
        (Some(_), None) => return Err("a side ('in'), but no packet".to_owned()),
    };
    let setup = read_setup(fields, "")?;
    let does = |name: &str| matches!(name, "in" | "packet" | "wait_ms" | "note" | "sysctl" | "nft" | "host");
    let fields = fields.iter().filter(|(name, _)| does(name));
    Ok(Step { fields: fields.map(|(k, v)| (k.clone(), v.clone())).collect(), wait, setup, packet })
}

/// Settings and rules of the head (`prefix`: where its names stand) or of a step.
fn read_setup(fields: &Map<String, Value>, prefix: &str) -> Result<Setup, String> {
    let mut setup = Setup::default();
    match (fields.get("nft"), fields.get("host")) {
        (_, Some(host)) => setup.host = Host::parse(host)?,
        (Some(_), None) => {
            return Err(format!("{prefix}nft without {prefix}host: rules are read from {prefix}host"));
        }
        (None, None) => {}
    }
    if let Some(settings) = fields.get("sysctl") {
        for (name, value) in object(settings, "sysctl")? {
            setup.sysctl.extend(setting(name, value)?);
        }
    }
    Ok(setup)
}

fn setting(name: &str, value: &Value) -> Result<Option<Setting>, String> {
    let unknown = || format!("sysctl {} is not known here", named(name));
    let short = name.strip_prefix(PREFIX).or_else(|| name.strip_prefix("net.ipv4.")).ok_or_else(unknown)?;
    let of_ipv4 = short.starts_with("ipfrag_");
    if of_ipv4 == name.starts_with(PREFIX) {
        return Err(unknown());
    }
    if DefragConfig::NAMES.contains(&short) {
        let value = number(value, short, u32::MAX.into())? as u32;
        return Ok(Some(Setting { name: short.to_owned(), value }));
    }
    if WITHOUT_EFFECT.contains(&short) {
        return Ok(None);
    }
    // The kernel has no sysctl for these.
    if matches!(short, "tcp_timeout_syn_sent2" | "nat_hooks") {
        return Err(unknown());
    }
    if short == LOG_INVALID {
        let value = number(value, short, u8::MAX.into())? as u32;
        return Ok(Some(Setting { name: short.to_owned(), value }));
    }
    let place = Tunables::NAMES.iter().position(|n| *n == short).ok_or_else(unknown)?;
    let most = Tunables::LIMITS.get(place).copied().unwrap_or(0);
    let value = number(value, short, most.into())? as u32;
    Ok(Some(Setting { name: short.to_owned(), value }))
}

pub(super) fn known(fields: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    match fields.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("{} is not known; known are {}", named(name), names.join(", "))),
        None => Ok(()),
    }
}
