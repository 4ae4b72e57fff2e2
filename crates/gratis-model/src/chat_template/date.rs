//! Today's date for a template, formatted as by Python's `strftime`.

use std::fmt::{self, Write};

use chrono::format::{Item, StrftimeItems};
use chrono::{Datelike, NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Directives that mean the same here and in Python, names in English. Those of time zones are not
/// among them, nor are those that only `chrono` has.
const DIRECTIVES: &str = "YymdeBbhAajHMSIpfcxXUWuwGVDFTRCntkl%";

/// A day of the Gregorian calendar, of the years 1 to 9999; its time of day is midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(NaiveDate);

impl Date {
    /// A day of the years 1 to 9999, `month` and `day` from 1.
    ///
    /// # Errors
    /// [`Error::InvalidDate`] if there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self> {
        NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day))
            .filter(|date| (1..=9999).contains(&date.year()))
            .map(Self)
            .ok_or_else(|| Error::InvalidDate { text: format!("{year:04}-{month:02}-{day:02}") })
    }

    /// The day as `strftime` prints it, names in English.
    ///
    /// # Errors
    /// [`Error::InvalidDate`] for a directive that is not one of
    /// `YymdeBbhAajHMSIpfcxXUWuwGVDFTRCntkl%`, alone or after `-`, which prints no leading zero.
    pub fn format(self, format: &str) -> Result<String> {
        let invalid = || Error::InvalidDate { text: format.to_owned() };
        let mut translated = String::with_capacity(format.len());
        let mut rest = format.chars();
        while let Some(character) = rest.next() {
            translated.push(character);
            if character != '%' {
                continue;
            }
            let mut directive = rest.next();
            if directive == Some('-') {
                translated.push('-');
                directive = rest.next();
            }
            match directive.filter(|directive| DIRECTIVES.contains(*directive)) {
                // Microseconds in Python, nanoseconds in `chrono`.
                Some('f') => translated.push_str("6f"),
                Some(directive) => translated.push(directive),
                None => return Err(invalid()),
            }
        }
        let items: Vec<Item<'_>> = StrftimeItems::new(&translated).collect();
        if items.contains(&Item::Error) {
            return Err(invalid());
        }
        let mut out = String::new();
        let midnight = self.0.and_time(NaiveTime::MIN);
        write!(out, "{}", midnight.format_with_items(items.iter())).map_err(|_| invalid())?;
        Ok(out)
    }
}

impl fmt::Display for Date {
    /// Writes `2024-07-26`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

impl TryFrom<String> for Date {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl std::str::FromStr for Date {
    type Err = Error;

    /// Reads `2024-07-26`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::InvalidDate { text: text.to_owned() };
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| invalid())?;
        if (1..=9999).contains(&date.year()) { Ok(Self(date)) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_python_does() {
        let date: Date = "2024-07-06".parse().expect("a date");
        // datetime(2024, 7, 6).strftime(...)
        for (format, expected) in [
            ("%d %b %Y", "06 Jul 2024"),
            ("%B %-d, %Y", "July 6, 2024"),
            ("%A %a %j %y", "Saturday Sat 188 24"),
            ("%Y-%m-%d %H:%M:%S %I %p 100%%", "2024-07-06 00:00:00 12 AM 100%"),
            ("[%e]", "[ 6]"),
            ("%x %T %U %u %f %F", "07/06/24 00:00:00 26 6 000000 2024-07-06"),
            ("%-m/%-d/%-y %c", "7/6/24 Sat Jul  6 00:00:00 2024"),
        ] {
            assert_eq!(date.format(format).expect("known directives"), expected);
        }
        assert!(date.format("%Q").is_err());
        assert!(date.format("ends in %").is_err());
        assert!(date.format("%z").is_err(), "there is no time zone");
        assert!(date.format("%1000000000d").is_err());
    }

    #[test]
    fn knows_weekdays_and_leap_years() {
        for (text, weekday) in
            [("2000-02-29", "Tuesday"), ("1900-03-01", "Thursday"), ("2026-11-21", "Saturday")]
        {
            let date: Date = text.parse().expect("a date");
            assert_eq!(date.format("%A").expect("a weekday"), weekday);
        }
        for text in
            ["1900-02-29", "2024-13-01", "2024-04-31", "2024-0-1", "2024-07", "x", "70000-01-01"]
        {
            assert!(text.parse::<Date>().is_err(), "`{text}` is no date");
        }
    }
}
