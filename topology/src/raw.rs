//! The YAML's shape.
