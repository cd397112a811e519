//! Points in time on the command line and in the output.

use std::fmt;
use std::str::FromStr;

const NANO: u64 = 1_000_000_000;

/// Nanoseconds since the epoch. Shown as `SECONDS.NANOSECONDS`, like `date +%s.%N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// Milliseconds since the epoch: the table's clock.
    pub fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The beginning of a millisecond of the table's clock.
    pub(crate) fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// `SECONDS.MICROSECONDS`.
    pub(crate) fn micros(self) -> String {
        format!("{}.{:06}", self.0 / NANO, self.0 % NANO / 1000)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / NANO, self.0 % NANO)
    }
}

const EXPECTED: &str = "expected seconds since the epoch (1795350645.686797) \
                        or a date and time with its zone (2026-11-22T12:30:45.5Z)";

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        epoch(text).or_else(|| rfc3339(text)).map(Time).ok_or_else(|| EXPECTED.to_owned())
    }
}

/// `SECONDS[.fraction]`, in nanoseconds since the epoch.
fn epoch(text: &str) -> Option<u64> {
    let (seconds, digits) = text.split_once('.').unwrap_or((text, "0"));
    number(seconds)?.checked_mul(NANO)?.checked_add(fraction(digits)?)
}

/// A number of nothing but digits (`u64::from_str` also takes a sign).
fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Nanoseconds of the digits behind a decimal point; those beyond the ninth are cut off.
fn fraction(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number(&format!("{digits:0<9}")[..9])
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM)`, in nanoseconds since the epoch.
fn rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let (time, nanoseconds) = match time.split_once('.') {
        Some((time, digits)) => (time, fraction(digits)?),
        None => (time, 0),
    };
    let [hour, minute, second] = fields(time, ':', [2, 2, 2])?;
    // 60 is a leap second: the epoch's clock shows the next second then.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let local = days_since_epoch(year, month, day)? * 86_400 + (hour * 60 + minute) * 60 + second;
    let seconds = local.checked_sub(zone_offset(zone)?)?;
    u64::try_from(seconds).ok()?.checked_mul(NANO)?.checked_add(nanoseconds)
}

/// Seconds that a zone is ahead of UTC.
fn zone_offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let [hours, minutes] = fields(zone.get(1..)?, ':', [2, 2])?;
    let offset = (hours * 60 + minutes) * 60;
    (hours < 24 && minutes < 60).then_some(if zone.starts_with('-') { -offset } else { offset })
}

/// Numbers of fixed widths.
fn fields<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (place, width) in widths.into_iter().enumerate() {
        let part = parts.next().filter(|part| part.len() == width)?;
        numbers[place] = number(part)?.try_into().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=in_month).contains(&day) {
        return None;
    }
    // Counting from March puts the leap day at the end of the year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let before_month = (month * 153 + 2) / 5;
    const MARCH_OF_YEAR_0_TO_EPOCH: i64 = 719_468;
    Some(before_year + before_month + day - 1 - MARCH_OF_YEAR_0_TO_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn epoch_seconds() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("1795350645", 1_795_350_645_000_000_000),
            ("1795350645.686797", 1_795_350_645_686_797_000),
            ("1.000000001", 1_000_000_001),
            ("1.0000000019", 1_000_000_001),
        ] {
            assert_eq!(text.parse(), Ok(Time(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn dates() {
        // Each was checked with `date -u -d ... +%s`.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-22T12:30:45Z", 1_795_350_645),
            ("2026-11-22 13:30:45+01:00", 1_795_350_645),
            ("2026-11-22T02:30:45-10:00", 1_795_350_645),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
        ] {
            assert_eq!(text.parse(), Ok(Time(seconds * 1_000_000_000)), "{text}");
        }
        assert_eq!("2026-11-22T12:30:45.25Z".parse(), Ok(Time(1_795_350_645_250_000_000)));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1.2.3",
            "1e9",
            "now",
            "2026-11-22",
            "2026-11-22T12:30:45",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-1-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00Zx",
            "99999999999999999999",
            "20000000000",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_it_is_read() {
        let time = Time(1_795_350_645_000_000_042);
        assert_eq!(time.to_string(), "1795350645.000000042");
        assert_eq!(time.to_string().parse(), Ok(time));
    }
}
