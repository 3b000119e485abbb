//! cargo xtask: what CI runs, machine-checked invariants, golden files.

fn main() {}
