//! Durable workflows in the CNCF Serverless Workflow DSL 1.0.
#![forbid(unsafe_code)]

pub mod dsl;
pub mod engine;
pub mod expressions;
