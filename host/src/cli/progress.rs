//! A spinner for what takes its time; silent when nobody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::Output;

/// Something that is being done. Dropping it wipes its line.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts to show `message`.
    pub fn start(output: &Output, message: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if output.is_lively() {
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_message(message.to_owned());
        Self(bar)
    }

    /// Shows another message.
    pub fn set(&self, message: &str) {
        self.0.set_message(message.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
