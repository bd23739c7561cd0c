//! Times, in milliseconds since the epoch.

use jiff::Timestamp;

/// Any RFC 3339 time.
pub(super) fn slowly(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    // Truncated, not rounded: an event of 23:59:59.9999 belongs to that day.
    Some(time.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// A time that looks like `2026-03-02T08:15:30.123Z`, as most do; `None` says nothing about the others.
pub(super) fn quickly(text: &str) -> Option<i64> {
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let [
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        b'-',
        _,
        _,
        b'T',
        _,
        _,
        b':',
        _,
        _,
        b':',
        _,
        _,
        b'.',
        _,
        _,
        _,
        b'Z',
    ] = text
    else {
        return None;
    };
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    let days = days_of_month(year, month)?;
    ((1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60).then_some(())?;
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3_600 + minute * 60 + second;
    Some(seconds * 1_000 + number(&text[20..23])?)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => Some(if is_leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// From 1970-01-01 to the first day of a month. Counted in years that begin in March, so that a leap day is the last of its year.
fn days_before(year: i64, month: i64) -> i64 {
    let (year, months) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days_of_years = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 153 days are five months from March or August on; 719,468 lie between 0000-03-01 and the epoch.
    days_of_years + (months * 153 + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_quickly_is_what_the_library_reads(
            year in 0..10_000, month in 0..14, day in 0..33, hour in 0..26, minute in 0..62, second in 0..62, ms in 0..1_000,
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
            match quickly(&text) {
                Some(time_ms) => prop_assert_eq!(Some(time_ms), slowly(&text), "{}", text),
                // The library takes a leap second for the one before.
                None => prop_assert!(second == 60 || slowly(&text).is_none(), "{}", text),
            }
        }

        #[test]
        fn what_only_resembles_a_time_is_none(at in 0usize..24, with in "[ -~]") {
            let mut text = "2026-03-02T08:15:30.123Z".to_owned();
            text.replace_range(at..=at, &with);
            if let Some(time_ms) = quickly(&text) {
                prop_assert_eq!(Some(time_ms), slowly(&text), "{}", text);
            }
        }
    }
}
