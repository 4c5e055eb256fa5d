//! machine

pub mod config;
