//! A fake server that runs until it is killed, for measurements of the binary:
//!
//!     cargo run -p gratis-bench-remote --example serve -- 18500 329 0
//!
//! The arguments are the port, the size of the vocabulary and the time per request in milliseconds.

#![expect(clippy::print_stdout, reason = "it is a tool for measurements")]

use std::time::Duration;

use gratis_bench_remote::{Behaviour, FakeServer, HashModel};

fn main() {
    let numbers: Vec<u64> =
        std::env::args().skip(1).map(|number| number.parse().expect("a number")).collect();
    let [port, vocab_size, milliseconds] = numbers[..] else {
        panic!("give a port, a size of the vocabulary and milliseconds");
    };
    let model = HashModel { vocab_size: vocab_size as usize, shift: 0.0 };
    let latency = Duration::from_millis(milliseconds);
    let behaviour = Behaviour { latency, ..Behaviour::default() };
    let server = FakeServer::start_at(&format!("127.0.0.1:{port}"), model, behaviour);
    println!("{}", server.as_ref().expect("a free port").url());
    loop {
        std::thread::park();
    }
}
