//! The command line of gratis: flags, printing, progress and exit codes.

fn main() {}
