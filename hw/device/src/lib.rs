//! hw/device
