//! What waits for a connection, in its order. Nearly always that is one frame or none: that one has its place in the connection, and what a
//! burst took beside it is given back when it has gone.

use std::collections::VecDeque;

use nself_plugin_api::abi::capability::hub::Frame;

/// Frames for which there is room at first, where more than one wait.
const MORE: usize = 8;

/// A frame that waits.
pub(super) struct Waiting {
    pub(super) frame: Frame,
    /// 0 for what comes from no topic.
    pub(super) topic: u64,
}

/// Frames that wait. Where there is no first one there are no others.
#[derive(Default)]
pub(super) struct Queue {
    first: Option<Waiting>,
    others: VecDeque<Waiting>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(super) fn first(&self) -> Option<&Waiting> {
        self.first.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.first.iter().chain(&self.others)
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        if self.first.is_none() {
            self.first = Some(waiting);
            return;
        }
        if self.others.capacity() == 0 {
            self.others.reserve(MORE);
        }
        self.others.push_back(waiting);
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let popped = std::mem::replace(&mut self.first, self.others.pop_front());
        self.give_room_back();
        popped
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Waiting> {
        let Some(at) = at.checked_sub(1) else {
            return self.pop();
        };
        let removed = self.others.remove(at);
        self.give_room_back();
        removed
    }

    /// Drops what is behind the first, and that one too where it is not kept.
    pub(super) fn clear_behind(&mut self, is_first_kept: bool) {
        self.others = VecDeque::new();
        self.first.take_if(|_| !is_first_kept);
    }

    fn give_room_back(&mut self) {
        if self.others.is_empty() && self.others.capacity() > 0 {
            self.others = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::frame;

    fn waiting(topic: u64) -> Waiting {
        Waiting {
            frame: frame::own(Vec::new()),
            topic,
        }
    }

    fn filled(topics: std::ops::RangeInclusive<u64>) -> Queue {
        let mut queue = Queue::default();
        for topic in topics {
            queue.push(waiting(topic));
        }
        queue
    }

    #[track_caller]
    fn check(queue: &Queue, expected: &[u64]) {
        let topics: Vec<_> = queue.iter().map(|waiting| waiting.topic).collect();
        assert_eq!(topics, expected);
        assert_eq!(queue.len(), expected.len());
        assert_eq!(queue.is_empty(), expected.is_empty());
        let first = queue.first().map(|waiting| waiting.topic);
        assert_eq!(first, expected.first().copied());
        let has_room = queue.others.capacity() > 0;
        assert_eq!(has_room, expected.len() > 1, "room for what is there alone");
    }

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let mut queue = filled(1..=20);
        check(&queue, &(1..=20).collect::<Vec<_>>());
        for topic in 1..=20 {
            assert_eq!(queue.pop().map(|waiting| waiting.topic), Some(topic));
        }
        check(&queue, &[]);
        assert!(queue.pop().is_none());
        queue.push(waiting(21));
        check(&queue, &[21]);
    }

    #[test]
    fn any_of_them_can_be_taken_out() {
        let mut queue = filled(1..=4);
        let mut remove = |at| queue.remove(at).map(|waiting| waiting.topic);
        assert_eq!([remove(2), remove(0), remove(7)], [Some(3), Some(1), None]);
        check(&queue, &[2, 4]);
        queue.clear_behind(true);
        check(&queue, &[2]);
        queue.clear_behind(false);
        check(&queue, &[]);
    }
}
