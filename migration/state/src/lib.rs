//! migration/state
