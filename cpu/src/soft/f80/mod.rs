//! x87 double extended.
