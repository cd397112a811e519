//! Taking JSON apart, with words for what is wrong.

use serde_json::{Map, Value};

/// The most of a file's own text that is shown in an error.
const SHOWN: usize = 60;

/// A value as it may be shown in one line of an error: JSON escapes what a terminal could take amiss.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(SHOWN).map(tame).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// The same for a name.
pub(super) fn named(name: &str) -> String {
    shown(&Value::from(name))
}

fn tame(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

pub(super) fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} is an object, not {}", shown(value)))
}

pub(super) fn array<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("{what} is a list, not {}", shown(value)))
}

pub(super) fn string<'a>(value: &'a Value, what: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{what} is a string, not {}", shown(value)))
}

/// A whole number no greater than `most`. JSON writes some with a point: 1.0 is 1.
pub(super) fn number(value: &Value, what: &str, most: u64) -> Result<u64, String> {
    let whole = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n)).map(|n| n as u64);
    match value.as_u64().or(whole) {
        Some(n) if n <= most => Ok(n),
        _ => Err(format!("{what} is a number from 0 to {most}, not {}", shown(value))),
    }
}

pub(super) fn yes(value: &Value, what: &str) -> Result<(), String> {
    if value == &Value::Bool(true) {
        Ok(())
    } else {
        Err(format!("{what} can only be true, not {}", shown(value)))
    }
}

/// Bytes in hexadecimal.
pub(super) fn bytes(value: &Value, what: &str) -> Result<Vec<u8>, String> {
    let hex = string(value, what)?;
    let wrong = || format!("{what} is an even number of hexadecimal digits, not {}", shown(value));
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8).ok_or_else(wrong);
    if !hex.len().is_multiple_of(2) {
        return Err(wrong());
    }
    hex.as_bytes().chunks_exact(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
