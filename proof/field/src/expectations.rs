//! Hostile ends of control connections: `PORT` again and again, answers to `PASV` in the name of others, many masters. No more is
//! expected than may be, of each master no more than its helper allows, nobody is expected at another's address, and nothing stays behind.

use std::collections::HashMap;
use std::sync::Arc;

use conntab::helper::{Announce, Announcements, Answer, Class, Ftp, Heading, Helper, Irc, Name, State};
use conntab::tuple::protocol::TCP;
use conntab::tuple::{Addr, addr};
use conntab::{Config, CtState, Handle, Packet, Reason, Table, Verdict, Worker};
use conntab_bench::{Random, cpu};

use crate::host;
use crate::packets::{ACK, Bytes, End, SERVER, SYN, SYN_ACK, tcp};
use crate::{Outcome, Plan};

const MASTERS: u32 = 1000;
const EXPECT_MAX: u32 = 256;

/// A helper that believes whatever address it is told: what `ftp` must not do.
struct Trusting;

impl Helper for Trusting {
    fn name(&self) -> Name {
        Name::new("ftp").unwrap_or(Name::NONE)
    }

    fn protocol(&self) -> u8 {
        TCP
    }

    fn classes(&self) -> &[Class] {
        const CLASSES: [Class; 1] = [Class { name: Name::NONE, max: 1, timeout: 300 }];
        &CLASSES
    }

    fn help(&self, about: &Heading, payload: &[u8], _: &mut State, to: &mut Announcements) -> Answer {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let numbers: Vec<u32> =
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let named = about.established && (text.starts_with("PORT") || text.starts_with("227"));
        if let (true, [.., a, b, c, d, high, low]) = (named, &numbers[..]) {
            let (from, to_ip) = (about.tuple().dst, host::address(a << 24 | b << 16 | c << 8 | d));
            let port = (high << 8 | low) as u16;
            to.push(Announce { protocol: TCP, from: Some(from), to: addr(to_ip), port, class: 0 });
        }
        Answer::Pass
    }
}

/// A control connection, and what both ends have sent.
struct Master {
    client: End,
    server: End,
    conn: Handle,
    seq: [u32; 2],
}

impl Master {
    /// Opens it and lets each end send a line, as the first is never heard.
    fn open(
        worker: &mut Worker,
        table: &Table,
        client: End,
        port: u16,
        helper: &str,
    ) -> Result<Self, String> {
        let server = (SERVER, port);
        let mut verdicts = [Verdict::default()];
        let syn = tcp(client, server, SYN, 1000, 0, &[]);
        worker.track(1000, &[Packet::new(&syn)], &mut verdicts);
        let id = table.helper(helper).ok_or("no helper")?;
        worker.attach_helper(&mut verdicts[0], id).map_err(|error| error.to_string())?;
        worker.confirm(1000, &mut verdicts, 1);
        host::pass(worker, 1000, &tcp(server, client, SYN_ACK, 5000, 1001, &[]));
        host::pass(worker, 1000, &tcp(client, server, ACK, 1001, 5001, &[]));
        let mut master = Self { client, server, conn: verdicts[0].conn, seq: [1001, 5001] };
        for back in [true, false] {
            let greeting = master.say(worker, 1000, back, b"hello\r\n").0;
            equal!(greeting.state, CtState::Established, "a greeting");
        }
        Ok(master)
    }

    /// A line of one end, which the other acknowledges if it passed. With the time that it took.
    fn say(&mut self, worker: &mut Worker, now: u64, back: bool, line: &[u8]) -> (Verdict, u64) {
        let (src, dst) = if back { (self.server, self.client) } else { (self.client, self.server) };
        let (own, other) = (usize::from(back), usize::from(!back));
        let data: Bytes = tcp(src, dst, ACK, self.seq[own], self.seq[other], line);
        let (packets, mut verdicts) = ([Packet::new(&data)], [Verdict::default()]);
        let begin = cpu();
        worker.track(now, &packets, &mut verdicts);
        let keep = worker.help(now, &packets, &mut verdicts, 1);
        worker.confirm(now, &mut verdicts, keep);
        let ns = cpu() - begin;
        if keep != 0 {
            self.seq[own] = self.seq[own].wrapping_add(line.len() as u32);
            host::pass(worker, now, &tcp(dst, src, ACK, self.seq[other], self.seq[own], &[]));
        }
        (verdicts[0], ns)
    }
}

/// `PORT` or the answer to `PASV`, naming an address and a port. All are of one length: of a line that was refused, the helper
/// remembers where the next would have begun, and of another length it would not hear the next in its place.
fn naming(back: bool, ip: u32, port: u16) -> String {
    let [a, b, c, d] = ip.to_be_bytes();
    let [high, low] = port.to_be_bytes();
    let numbers = format!("{a:03},{b:03},{c:03},{d:03},{high:03},{low:03}");
    if back { format!("227 Entering Passive Mode ({numbers}).\r\n") } else { format!("PORT {numbers}\r\n") }
}

/// Who expects what: the port, and whether the server is to be connected to.
type Model = HashMap<Handle, (u16, bool)>;

fn compare(table: &Table, now: u64, model: &Model, masters: &HashMap<Handle, u32>) -> Result<(), String> {
    let mut seen = 0;
    for expected in table.expectations(now) {
        let client = masters.get(&expected.master).ok_or("a master that nobody knows")?;
        let ips: [Addr; 2] = [addr(host::address(*client)), addr(host::address(SERVER))];
        let (port, back) =
            model.get(&expected.master).copied().ok_or_else(|| format!("nobody asked for {expected}"))?;
        let (from, to) = if back { (ips[0], ips[1]) } else { (ips[1], ips[0]) };
        let tuple = expected.tuple;
        equal!((tuple.src, tuple.dst, tuple.dport), (from, to, port), "what is expected: {expected}");
        seen += 1;
    }
    equal!(seen, model.len(), "how many are expected");
    Ok(())
}

pub fn run(plan: &Plan) -> Outcome {
    let lines: u64 = if plan.short { 200_000 } else { 5_000_000 };
    let table = host::table(Config { expect_max: EXPECT_MAX, helper_max: 8192, ..host::config(32_768) })?;
    let ftp: Arc<dyn Helper> = if plan.has("trusting") { Arc::new(Trusting) } else { Arc::new(Ftp) };
    for helper in [ftp, Arc::new(Irc)] {
        table.add_helper(helper).map_err(|error| error.to_string())?;
    }
    let mut worker = host::worker(&table)?;
    let mut masters = Vec::new();
    for n in 0..MASTERS {
        masters.push(Master::open(&mut worker, &table, (0x0a00_0001 + n, 2000), 21, "ftp")?);
    }
    let clients: HashMap<Handle, u32> = masters.iter().map(|master| (master.conn, master.client.0)).collect();
    let mut random = Random(0xf7b);
    let mut model = Model::new();
    let (mut refused, mut unlucky, mut foreign, mut came, mut ns, mut now) = (0, 0, 0, 0, 0, 2000);
    for n in 0..lines {
        let at = random.below(masters.len());
        let master = &mut masters[at];
        let back = random.below(2) == 1;
        let own = if back { SERVER } else { master.client.0 };
        // A victim's address, now and then; or a neighbour's.
        let ip = if random.below(4) == 0 { own ^ 1 << random.below(32) } else { own };
        let port = random.word() as u16;
        let (verdict, took) = master.say(&mut worker, now, back, naming(back, ip, port).as_bytes());
        ns += took;
        match (verdict.state, verdict.reason) {
            (CtState::Established, Reason::None) if ip == own => {
                // It took the place of what this master expected before.
                model.insert(master.conn, (port, back));
            }
            (CtState::Established, Reason::None) => foreign += 1,
            (CtState::Drop, Reason::Expectation) if ip == own => {
                // There are as many as may be; or both buckets that it may lie in are full, once in a million times.
                let room = model.len() < EXPECT_MAX as usize || model.contains_key(&master.conn);
                unlucky += u64::from(room);
                refused += 1;
            }
            _ => return Err(format!("line {n}: {verdict:?}")),
        }
        equal!(table.usage().expectations as usize, model.len(), "expectations after line {n}");
        // What is expected comes, once; from elsewhere it is somebody else's.
        if n % 16 == 0
            && let Some((port, back)) = model.get(&master.conn).copied()
            && port != 21
        {
            let (from, to) = if back { (master.client.0, SERVER) } else { (SERVER, master.client.0) };
            let stranger = tcp((from ^ 0x0100_0000, 9), (to, port), SYN, 1, 0, &[]);
            let verdict = host::judge(&mut worker, now, &[Packet::new(&stranger)])[0];
            equal!(verdict.state, CtState::New, "a stranger at what is expected");
            let child = tcp((from, 9000 + (n / 16 % 50_000) as u16), (to, port), SYN, 1, 0, &[]);
            let mut verdicts = host::judge(&mut worker, now, &[Packet::new(&child)]);
            if verdicts[0].unconfirmed {
                equal!(verdicts[0].state, CtState::Related, "what is expected");
                worker.confirm(now, &mut verdicts, 1);
                hold!(worker.delete(verdicts[0].conn), "it was let in");
                model.remove(&master.conn);
                came += 1;
            }
        }
        if n % 1024 == 0 {
            compare(&table, now, &model, &clients)?;
            worker.reap(now, 0);
            now += 1;
        }
    }
    compare(&table, now, &model, &clients)?;
    let stats = table.stats();
    equal!((stats.expect_full, stats.drop), (refused, refused), "expect_full, drop");
    equal!(stats.expect_new, came, "expect_new");
    hold!(unlucky <= 10 + lines / 100_000, "{unlucky} of {lines} refused, though there was room");
    equal!(stats.expect_create - stats.expect_delete, model.len() as u64, "expect_create and expect_delete");

    // Eight of one master, and the oldest makes room.
    table.flush();
    worker.reap(now, 0);
    let mut master = Master::open(&mut worker, &table, (0x0b00_0001, 2000), 6667, "irc")?;
    let offers: u32 = 2000;
    for port in 1..=offers {
        let line = format!("PRIVMSG b :\x01DCC SEND file {} {port} 99\x01\r\n", master.client.0);
        let (verdict, _) = master.say(&mut worker, now, false, line.as_bytes());
        equal!((verdict.state, verdict.reason), (CtState::Established, Reason::None), "offer {port}");
        let mut ports: Vec<u32> = table.expectations(now).map(|e| u32::from(e.tuple.dport)).collect();
        ports.sort_unstable();
        let last: Vec<u32> = (port.saturating_sub(7).max(1)..=port).collect();
        equal!(ports, last, "what is expected after offer {port}");
    }
    // Time: five minutes, and whatever the masters do.
    worker.reap(now + 300_000, u32::MAX);
    equal!(table.usage().expectations, 0, "expectations after five minutes");
    table.flush();
    let stats = host::balanced(&table)?;
    equal!(stats.expect_create, stats.expect_delete, "expect_create and expect_delete at the end");
    worker.idle();
    drop(worker);
    host::all_free(&table, now)?;
    Ok(format!(
        "{lines} PORTs and answers to PASV by {MASTERS} masters: {EXPECT_MAX} expected at most, {refused} refused (expect_full; {unlucky} for want of a place, not of room), {foreign} \
         with another's address announced nothing, {came} came; {offers} DCC offers of one: the last eight; nothing left behind; {} ns a line",
        ns / lines
    ))
}
