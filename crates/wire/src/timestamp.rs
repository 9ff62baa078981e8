//! Times as protobuf's JSON writes them: RFC 3339 in UTC.

/// Writes a time given as seconds since 1970 and nanoseconds within the second. Years outside
/// 1 to 9999, which RFC 3339 cannot write, are shown as the nearest it can.
#[must_use]
pub fn rfc3339(seconds: i64, nanoseconds: u32) -> String {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    let seconds = seconds.clamp(FIRST, LAST);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanoseconds != 0 {
        // Protobuf writes 3, 6 or 9 digits.
        let digits = format!(".{:09}", nanoseconds.min(999_999_999));
        text.push_str(
            digits
                .strip_suffix("000000")
                .or(digits.strip_suffix("000"))
                .unwrap_or(&digits),
        );
    }
    text.push('Z');
    text
}

/// ISO 8601's basic form, to the second and in UTC, as AWS signatures write times:
/// `20130524T000000Z`.
#[must_use]
pub fn basic(seconds: i64) -> String {
    rfc3339(seconds, 0).replace(['-', ':'], "")
}

/// Days since 1970 to year, month and day of the Gregorian calendar, by 400-year eras that
/// begin in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times() {
        assert_eq!(basic(1_369_353_600), "20130524T000000Z");
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(
            rfc3339(951_782_400, 500_000_000),
            "2000-02-29T00:00:00.500Z"
        );
        assert_eq!(rfc3339(1_700_000_000, 1), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(rfc3339(-1, 0), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(i64::MAX, 0), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(i64::MIN, 0), "0001-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn later_is_greater(a in -60_000_000_000i64..250_000_000_000, step in 1i64..100_000_000) {
            prop_assert!(rfc3339(a, 0) < rfc3339(a + step, 0));
        }
    }
}
