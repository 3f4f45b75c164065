//! raw -> model.
