//! What the tests of this directory stand on: the files as Compose itself reads them, and a lab that starts the same services
//! with the programs of this machine, each in namespaces that stand for its container.

pub mod lab;
pub mod shell;
pub mod stack;
