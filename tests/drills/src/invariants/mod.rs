//! What must hold after every event, one file each.
