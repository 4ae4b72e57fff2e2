//! Hints: what a user can do about an error. Front ends show them below the message.

use std::error::Error as StdError;
use std::io::ErrorKind;

use crate::error::Error;

/// The hint for an error: that of the first of its causes with one, else that of an I/O error below.
pub fn of(error: &(dyn StdError + 'static)) -> Option<String> {
    causes(error).find_map(of_cause).or_else(|| {
        let io = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
        of_io(io.kind()).map(str::to_owned)
    })
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The hint for an error of this crate, of a model's files or of an engine that runs elsewhere, its
/// causes left aside.
pub fn of_cause(cause: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(Error::MissingSetting { field }) = cause.downcast_ref() {
        return Some(format!("give `--{field}`, or set `{field}` in the file of `--config`"));
    }
    let own = cause.downcast_ref::<Error>().map(Error::hint);
    let of_data = || cause.downcast_ref::<gratis_data::Error>().map(gratis_data::Error::hint);
    let of_model = || cause.downcast_ref::<gratis_model::Error>().map(gratis_model::Error::hint);
    let of_remote = || cause.downcast_ref::<gratis_remote::Error>().map(gratis_remote::Error::hint);
    own.or_else(of_data).or_else(of_model).or_else(of_remote)?.map(str::to_owned)
}

/// The hint for an I/O error.
pub fn of_io(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Some(
            "check the path: an input file must exist, and so must the folder of an output file",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("choose a path for which you have permission")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("free some space and run the same command again; no incomplete file was written")
        }
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::Other => {
            Some("check that the file is complete and has the format that its name says")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Error as DataError;

    #[test]
    fn the_hint_of_the_error_comes_before_that_of_its_cause() {
        let io = || std::io::Error::from(ErrorKind::NotFound);
        let read = DataError::Io { action: "read", path: "a".into(), source: io() };
        assert!(of(&read).expect("a hint").starts_with("check the path"));
        let missing = Error::MissingSetting { field: "data" };
        assert!(of(&missing).expect("a hint").contains("`--data`"));
        assert_eq!(of(&std::io::Error::from(ErrorKind::WouldBlock)), None);
    }
}
