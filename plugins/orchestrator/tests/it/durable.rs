//! Durability: a state that is written and read between any two steps comes to the same end.
