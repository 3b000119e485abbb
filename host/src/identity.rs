//! Who calls: token to principal to policy.
