//! The date that a template takes for today, formatted as Python's `strftime` does.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A day of the Gregorian calendar; its time of day is midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// A day of the years 1 to 9999, `month` and `day` from 1.
    ///
    /// # Errors
    /// [`Error::InvalidDate`] if there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self> {
        let is_leap =
            year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let n_days = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        if (1..=9999).contains(&year) && (1..=n_days).contains(&day) {
            Ok(Self { year, month, day })
        } else {
            Err(Error::InvalidDate { text: format!("{year:04}-{month:02}-{day:02}") })
        }
    }

    /// The day as `strftime` prints it, names in English.
    ///
    /// # Errors
    /// [`Error::InvalidDate`] for a directive that is not one of `YymdeBbhAajHIMSpf%`.
    pub fn format(self, format: &str) -> Result<String> {
        let Self { year, month, day } = self;
        let month_name = MONTHS[usize::from(month) - 1];
        let weekday_name = WEEKDAYS[self.weekday()];
        let mut out = String::new();
        let mut rest = format.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let mut directive = rest.next();
            // `%-d` prints no leading zero.
            let is_bare = directive == Some('-');
            if is_bare {
                directive = rest.next();
            }
            let (number, width) = match directive {
                Some('Y') => (u32::from(year), 4),
                Some('y') => (u32::from(year % 100), 2),
                Some('m') => (u32::from(month), 2),
                Some('d' | 'e') => (u32::from(day), 2),
                Some('j') => (self.day_of_year(), 3),
                Some('H' | 'M' | 'S') => (0, 2),
                Some('I') => (12, 2),
                Some('f') => (0, 6),
                Some(name) => {
                    out.push_str(match name {
                        'B' => month_name,
                        'b' | 'h' => &month_name[..3],
                        'A' => weekday_name,
                        'a' => &weekday_name[..3],
                        'p' => "AM",
                        '%' => "%",
                        _ => return Err(Error::InvalidDate { text: format.to_owned() }),
                    });
                    continue;
                }
                None => return Err(Error::InvalidDate { text: format.to_owned() }),
            };
            let written = match (directive, is_bare) {
                (_, true) => write!(out, "{number}"),
                (Some('e'), false) => write!(out, "{number:width$}"),
                _ => write!(out, "{number:0width$}"),
            };
            debug_assert!(written.is_ok(), "a string takes all that is written to it");
        }
        Ok(out)
    }

    fn day_of_year(self) -> u32 {
        (1..self.month)
            .map(|month| (28..=31).rev().find(|day| Self::new(self.year, month, *day).is_ok()))
            .map(|last| u32::from(last.unwrap_or_default()))
            .sum::<u32>()
            + u32::from(self.day)
    }

    /// Days since Sunday.
    fn weekday(self) -> usize {
        let years = u32::from(self.year) - 1;
        // 1 January of the year 1 was a Monday.
        let days = years * 365 + years / 4 - years / 100 + years / 400 + self.day_of_year();
        days as usize % 7
    }
}

impl fmt::Display for Date {
    /// Writes `2024-07-26`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
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
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().and_then(|part| part.parse::<u16>().ok());
        let (Some(year), Some(month), Some(day)) = (part(), part(), part()) else {
            return Err(invalid());
        };
        let small = |number: u16| u8::try_from(number).map_err(|_| invalid());
        Self::new(year, small(month)?, small(day)?)
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
        ] {
            assert_eq!(date.format(format).expect("known directives"), expected);
        }
        assert!(date.format("%Q").is_err());
        assert!(date.format("ends in %").is_err());
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
