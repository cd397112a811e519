//! Whatever a file holds, it is played or refused in one line.

use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::Value;

use crate::FOLDERS;
use crate::scenarios::{Scenario, of};

/// Short ones, so that many can be played.
fn originals() -> &'static [Scenario] {
    static ALL: OnceLock<Vec<Scenario>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<_> = FOLDERS.into_iter().flat_map(of).collect();
        all.retain(|scenario| scenario.text.len() < 12_000);
        all
    })
}

fn judge(text: &[u8]) -> Result<(), TestCaseError> {
    match conntab_cli::trace::play(text, 1_000_000) {
        Ok(played) => prop_assert!(serde_json::from_str::<Value>(&played).is_ok(), "{played}"),
        Err(problem) => {
            let line = problem.to_string();
            prop_assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
            prop_assert!(line.len() < 600, "{line}");
        }
    }
    Ok(())
}

/// JSON that stands in for something else.
fn odd() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..3000).prop_map(Value::from)
    ];
    let text = prop_oneof![
        any::<String>().prop_map(Value::from),
        "[0-9a-f]{0,200}".prop_map(Value::from),
        Just(Value::from("length")),
        Just(Value::from("tcp-reset"))
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let names = prop_oneof![
            "[a-z_]{1,8}",
            prop::sample::select(vec![
                "at", "if", "do", "host", "rules", "in", "packet", "wait_ms", "steps", "mark", "zone",
                "reject", "timeout", "state", "sysctl",
            ])
            .prop_map(str::to_owned)
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()))
        ]
    })
}

/// All places of a value, counted as they are met.
fn place(value: &mut Value, left: &mut usize, with: &Value) -> bool {
    if *left == 0 {
        *value = with.clone();
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| place(item, left, with)),
        Value::Object(fields) => fields.values_mut().any(|field| place(field, left, with)),
        _ => false,
    }
}

fn places(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(places).sum(),
        Value::Object(fields) => fields.values().map(places).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn another_value_somewhere(which: prop::sample::Index, at: prop::sample::Index, with in odd()) {
        let mut scenario = which.get(originals()).recorded.clone();
        let mut left = at.index(places(&scenario));
        place(&mut scenario, &mut left, &with);
        judge(scenario.to_string().as_bytes())?;
    }

    #[test]
    fn other_bytes_somewhere(which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut text = which.get(originals()).text.clone();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        judge(&text)?;
    }

    #[test]
    fn other_packets(which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..16), 1..20)) {
        let mut scenario = which.get(originals()).recorded.clone();
        let Some(steps) = scenario["steps"].as_array_mut() else { return Ok(()) };
        for (step, at, digit) in changes {
            let count = steps.len();
            let Some(packet) = steps[step.index(count)].get_mut("packet") else { continue };
            let mut hex = packet.as_str().unwrap_or_default().to_owned();
            if hex.is_empty() {
                continue;
            }
            let at = at.index(hex.len());
            hex.replace_range(at..=at, &format!("{digit:x}"));
            *packet = hex.into();
        }
        judge(scenario.to_string().as_bytes())?;
    }
}
