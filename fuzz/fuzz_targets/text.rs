//! Lines of `/proc/net/nf_conntrack`: what is read is written, and read again as the same. Tunables by name. The first byte says
//! what the rest is.
#![no_main]

use conntab::Connection;
use conntab::conn::status;
use conntab::timeout::Tunables;
use conntab_fuzz::planted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((what, rest)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    if what & 7 == 0 {
        tunable(&text, u32::from(*what) << 14);
    } else {
        line(&text);
    }
});

fn line(text: &str) {
    let connection: Connection = match text.parse() {
        Ok(connection) => connection,
        Err(error) => {
            let error = format!("{error}");
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
            return;
        }
    };
    let mut line = connection.to_string();
    // (The defect that ci/fuzz.sh plants.)
    if planted("text-unreplied") {
        line = line.replace("[UNREPLIED] ", "");
    }
    match line.parse::<Connection>() {
        // Of what is offloaded neither time nor state is written, nor ASSURED; older kernels do so, and it is read.
        Ok(again) if connection.status & status::OFFLOAD != 0 => assert_eq!(again.to_string(), line),
        Ok(again) => assert_eq!(again, connection, "{line}"),
        Err(error) => panic!("{error}: {line}"),
    }
}

fn tunable(name: &str, value: u32) {
    let mut tunables = Tunables::default();
    let place = Tunables::NAMES.iter().position(|known| *known == name);
    let set = tunables.set(name, value);
    let good = place.is_some_and(|place| value <= Tunables::LIMITS[place]);
    assert_eq!(set.is_ok(), good);
    assert_eq!(
        tunables.get(name).ok(),
        place.map(|_| if good { value } else { Tunables::default().get(name).expect("known") })
    );
    if let Err(error) = set {
        assert!(!format!("{error}").contains('\n'));
    }
}
