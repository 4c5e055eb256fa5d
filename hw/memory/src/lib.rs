//! hw/memory
