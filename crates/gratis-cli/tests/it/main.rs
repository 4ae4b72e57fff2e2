//! Integration tests of the workspace and its binary.

mod baselines;
mod broken_models;
mod cli;
mod data;
mod evaluate;
mod faults;
mod hub;
mod hub_cache;
mod hub_trust;
mod kill;
mod links;
mod loopback;
mod models;
mod outputs;
mod parts;
mod process;
mod published;
mod quantised;
mod remote;
mod rollout_files;
mod serve;
mod theory;
mod tidy;
mod token_ids;
mod training;
mod workspace;
