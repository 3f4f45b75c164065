//! The shell: everything that touches the world. No decision is taken here.

pub mod disk;
pub mod peers;
