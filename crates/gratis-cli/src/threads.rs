//! The compute threads outside an engine, for grading and labelling.

use rayon::ThreadPoolBuilder;

use crate::failure::CliError;

/// Address space of a thread: its stack of 2 MiB, and what it allocates at its start.
const BYTES_PER_THREAD: usize = 3 << 20;

/// Starts as many threads as `--threads` says.
pub(crate) fn start(n_threads: usize) -> Result<(), CliError> {
    let mut builder = ThreadPoolBuilder::new().num_threads(n_threads);
    if n_threads == 1 {
        // The main thread computes; no thread is started.
        builder = builder.use_current_thread();
    }
    // Where memory is limited, threads that fill it to the last byte end the process when they
    // allocate, instead of failing to start: their room is asked for first.
    let mut room: Vec<u8> = Vec::new();
    if n_threads > 1 {
        room.try_reserve_exact(n_threads.saturating_mul(BYTES_PER_THREAD))
            .map_err(|source| CliError::Threads { n_threads, source: source.into() })?;
    }
    drop(room);
    builder.build_global().map_err(|source| CliError::Threads { n_threads, source: source.into() })
}
