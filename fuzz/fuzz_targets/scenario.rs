//! Scenarios (docs/scenarios.md): what is refused is refused in one line; what is played gives the same at whatever time it begins,
//! and what was recorded is a scenario that gives itself again.
#![no_main]

use conntab_cli::trace::play;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match play(input, 1_000_000) {
        Ok(recorded) => {
            assert_eq!(play(input, u64::from(u32::MAX) - 1000).as_deref(), Ok(recorded.as_str()));
            let again = play(recorded.as_bytes(), 1).unwrap_or_else(|e| panic!("{e}: {recorded}"));
            assert_eq!(again, recorded);
        }
        Err(problem) => assert!(!problem.to_string().contains('\n'), "{problem}"),
    }
});
