//! cpu

pub mod soft;
