//! The compute threads outside an engine, for grading and labelling.

use rayon::ThreadPoolBuilder;

use crate::failure::CliError;

/// Starts as many threads as `--threads` says.
pub(crate) fn start(n_threads: usize) -> Result<(), CliError> {
    let mut builder = ThreadPoolBuilder::new().num_threads(n_threads);
    if n_threads == 1 {
        // The main thread computes; no thread is started.
        builder = builder.use_current_thread();
    }
    builder.build_global().map_err(|source| CliError::Threads { n_threads, source })
}
