//! Experiments: each file is one figure, one table or one story of the paper, from settings to a
//! serialisable result and its page.
//!
//! [`demo`] tells the story once. [`reproduce`] runs every table and figure in a [`lab`], which
//! makes each model and each set of samples once; [`pages`] shows what came out. What all stand on:
//! the models of the tiny world (`workshop`), figures over seeds with their intervals (`measured`),
//! and results with their claims ([`outcome`]).

pub mod baselines;
pub mod costs;
pub mod demo;
pub mod example;
pub mod figure6;
pub mod heads;
pub mod lab;
pub mod outcome;
pub mod pages;
pub mod reproduce;
pub mod scaling;
pub mod section3;
pub mod table1;
pub mod table2;
pub mod table3;
pub mod table4;
pub mod table5;
pub mod tuning;

mod measured;
mod truth;
mod workshop;
