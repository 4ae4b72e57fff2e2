//! Problems, rollouts and the operations on them (paper section 4.1 and appendix C).

pub mod rollout;

pub use rollout::Rollout;
