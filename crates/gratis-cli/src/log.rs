//! The log on stderr: one line per event, with control characters escaped.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::time::Instant;

use gratis::visible::visible;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::terminal::Stderr;
use crate::{Common, Verbosity};

/// Sends the log to stderr; `RUST_LOG` (such as `info,gratis=debug`) overrides the flags.
pub(crate) fn start(common: &Common) {
    let verbosity = common.verbosity();
    let everywhere = if verbosity == Verbosity::Quiet { Level::ERROR } else { Level::INFO };
    let own = match verbosity {
        Verbosity::Quiet => Level::ERROR,
        Verbosity::Normal => Level::INFO,
        Verbosity::Verbose => Level::DEBUG,
        Verbosity::Debug => Level::TRACE,
    };
    let of_flags = || Targets::new().with_default(everywhere).with_target("gratis", own);
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let read = asked.as_deref().map(str::parse::<Targets>).transpose();
    let (filter, unreadable) = match read {
        Ok(filter) => (filter.unwrap_or_else(of_flags), None),
        Err(error) => (of_flags(), Some(error)),
    };
    let lines = Lines { started: (verbosity == Verbosity::Debug).then(Instant::now) };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .event_format(lines);
    tracing_subscriber::registry().with(layer).with(filter).init();
    if let Some(error) = unreadable {
        tracing::warn!("`RUST_LOG` is ignored: {error}");
    }
}

/// `LEVEL message`, or `SECONDS LEVEL module: message` for debugging.
struct Lines {
    started: Option<Instant>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        if let Some(started) = self.started {
            write!(writer, "{:9.3} ", started.elapsed().as_secs_f64())?;
        }
        let level = metadata.level();
        if writer.has_ansi_escapes() {
            write!(writer, "\x1b[{}m{level:>5}\x1b[0m ", colour(*level))?;
        } else {
            write!(writer, "{level:>5} ")?;
        }
        if self.started.is_some() {
            write!(writer, "{}: ", metadata.target())?;
        }
        writeln!(writer, "{}", visible(&message.0))
    }
}

/// The colour of a level, as the parameter of an escape sequence.
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// The text of an event: its message, then its other fields.
struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            // Added by the bridge from the crate `log`.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
